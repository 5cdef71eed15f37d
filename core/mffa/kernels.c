#include "core/mffa/kernels.h"

/* The thread sanitizer is not there yet when the loader chooses among them. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_THREAD__)
#define EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2,fma", "default")))
#else
#define EACH_PROCESSOR
#endif

typedef float lane __attribute__((vector_size(64))); /* the compiler splits it where registers are narrower */

EACH_PROCESSOR
void mffa_kernel_distances(const float *const rows[MFFA_PANEL_ROWS], const float *panel, float out[MFFA_PANEL_ROWS][MFFA_PANEL]) {
    const lane *c = (const lane *)panel;
    lane sum[MFFA_PANEL_ROWS][2] = {0};
    for (int k = 0; k < 128; k++)
        for (int r = 0; r < MFFA_PANEL_ROWS; r++) {
            lane a = c[2 * k] - rows[r][k], b = c[2 * k + 1] - rows[r][k];
            sum[r][0] += a * a;
            sum[r][1] += b * b;
        }
    __builtin_memcpy(out, sum, sizeof sum);
}

/* Both loops below run over rows from the last to the first and clear the vectors' entry of a row once it is done: lanes that reach
 * beyond a row's end then meet zeros, and only what would reach beyond the triangle needs a loop of its own. */
typedef float near_lane __attribute__((vector_size(64), aligned(4), may_alias));
typedef int16_t quantised __attribute__((vector_size(32), aligned(2), may_alias));

EACH_PROCESSOR
void mffa_kernel_scatter(float *s, int d, float *v, int pitch, int n) {
    int64_t end = mffa_packed(d);
    for (int i = d; i-- > 0;) {
        float *row = s + mffa_packed(i);
        int j = 0;
        for (; j <= i && row - s + j + MFFA_LANE <= end; j += MFFA_LANE) {
            near_lane *at = (near_lane *)(row + j);
            near_lane sum = *at;
            for (int k = 0; k < n; k++) sum += v[k * pitch + i] * *(const near_lane *)(v + k * pitch + j);
            *at = sum;
        }
        for (; j <= i; j++)
            for (int k = 0; k < n; k++) row[j] += v[k * pitch + i] * v[k * pitch + j];
        for (int k = 0; k < n; k++) v[k * pitch + i] = 0;
    }
}

EACH_PROCESSOR
void mffa_kernel_whiten(const int16_t *q, const float *scale, int d, float *v, int pitch, float out[8]) {
    int64_t end = mffa_packed(d);
    float total[8] = {0};
    for (int i = d; i-- > 0;) {
        const int16_t *row = q + mffa_packed(i);
        near_lane sum[8] = {0};
        float y[8] = {0};
        int j = 0;
        for (; j <= i && row - q + j + MFFA_LANE <= end; j += MFFA_LANE) {
            near_lane w = __builtin_convertvector(*(const quantised *)(row + j), near_lane);
            for (int k = 0; k < 8; k++) sum[k] += w * *(const near_lane *)(v + k * pitch + j);
        }
        for (; j <= i; j++)
            for (int k = 0; k < 8; k++) y[k] += (float)row[j] * v[k * pitch + j];
        for (int k = 0; k < 8; k++) {
            for (int l = 0; l < MFFA_LANE; l++) y[k] += sum[k][l];
            y[k] *= scale[i];
            total[k] += y[k] * y[k];
            v[k * pitch + i] = 0;
        }
    }
    for (int k = 0; k < 8; k++) out[k] = total[k];
}

EACH_PROCESSOR
float mffa_kernel_expand(float *products, const float *norms, int64_t n) {
    float least[MFFA_LANE], all;
    for (int l = 0; l < MFFA_LANE; l++) least[l] = __builtin_inff();
    int64_t j = 0;
    for (; j + MFFA_LANE <= n; j += MFFA_LANE)
        for (int l = 0; l < MFFA_LANE; l++) {
            products[j + l] = norms[j + l] - 2 * products[j + l];
            least[l] = products[j + l] < least[l] ? products[j + l] : least[l];
        }
    for (; j < n; j++) {
        products[j] = norms[j] - 2 * products[j];
        least[0] = products[j] < least[0] ? products[j] : least[0];
    }
    all = least[0];
    for (int l = 1; l < MFFA_LANE; l++) all = least[l] < all ? least[l] : all;
    return all;
}

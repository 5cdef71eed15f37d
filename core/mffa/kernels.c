#include "core/mffa/kernels.h"

#if defined(__x86_64__) && defined(__gnu_linux__)
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

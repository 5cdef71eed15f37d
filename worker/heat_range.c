#include "worker/heat_range.h"

#include <math.h>

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(float *values, size_t n, double q) { /* nearest rank; sorts values */
    qsort(values, n, sizeof *values, ascending);
    return (double)values[(size_t)((double)(n - 1) * q + .5)];
}

mffa_code mffa_heat_typical(const float *map, int side, float *out, mffa_err *err) {
    int step = side > 128 ? 2 : 1, across = (side + step - 1) / step;
    MFFA_AUTO(mffa_free_p) float *some = mffa_alloc_array((size_t)across * (size_t)across, sizeof *some);
    if (!some) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    size_t n = 0;
    for (int y = 0; y < side; y += step)
        for (int x = 0; x < side; x += step) some[n++] = map[(size_t)y * (size_t)side + (size_t)x];
    *out = (float)quantile(some, n, .99);
    return MFFA_OK;
}

/* Values of the pictures with this label (-2: any) into out; how many. */
static size_t gather(const mffa_scores *s, const float *typical, int label, float *out) {
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        if (label == -2 || s->items[i].label == label) out[n++] = typical ? typical[i] : s->items[i].score.score;
    return n;
}

mffa_code mffa_heat_range_of(const mffa_scores *s, const float *typical, mffa_heat_range *out, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) float *values = mffa_alloc_array(s->count, sizeof *values);
    if (!values) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    size_t n = gather(s, typical, 0, values);
    if (n == 0) n = gather(s, typical, -2, values);
    double low = quantile(values, n, .5), high;
    n = gather(s, NULL, 1, values);
    if (n > 0) high = quantile(values, n, .25);
    else n = gather(s, NULL, -2, values), high = fmax(quantile(values, n, .95), 2 * quantile(values, n, .5));
    if (s->threshold.known) high = fmax(high, low + 1.3 * (s->threshold.value - low));
    double least = low + fmax(fabs(low) * .25, 1e-6);
    *out = (mffa_heat_range){low, fmax(high, least)};
    return MFFA_OK;
}

#include "core/image/resize.h"

#include <math.h>
#include <string.h>

/* The triangle filter of one output position: input positions first .. first + count - 1 with weights of sum 1.
 * When shrinking by s it is s times wider, so every input counts; otherwise it is plain bilinear interpolation. */
typedef struct taps {
    int *first, *count;
    float *weight; /* [outputs, most] */
    int most;
} taps;

static void taps_done(taps *t) {
    free(t->first);
    free(t->count);
    free(t->weight);
}

static void fill_taps(taps *t, int in, int out, double support) {
    double scale = (double)in / out, narrow = scale > 1 ? 1 / scale : 1;
    for (int i = 0; i < out; i++) {
        double centre = scale * (i + .5), sum = 0;
        int low = (int)(centre - support + .5), high = (int)(centre + support + .5);
        if (low < 0) low = 0;
        if (high > in) high = in;
        float *w = t->weight + (size_t)i * (size_t)t->most;
        for (int j = low; j < high; j++) sum += fmax(0, 1 - fabs(j - centre + .5) * narrow);
        for (int j = low; j < high; j++) w[j - low] = (float)(fmax(0, 1 - fabs(j - centre + .5) * narrow) / sum);
        t->first[i] = low;
        t->count[i] = high - low;
    }
}

static bool make_taps(taps *t, int in, int out) {
    double scale = (double)in / out, support = scale > 1 ? scale : 1;
    t->most = (int)ceil(support) * 2 + 1;
    t->first = mffa_alloc_array((size_t)out, sizeof *t->first);
    t->count = mffa_alloc_array((size_t)out, sizeof *t->count);
    t->weight = mffa_alloc_array((size_t)out * (size_t)t->most, sizeof *t->weight);
    if (!t->first || !t->count || !t->weight) return false;
    fill_taps(t, in, out, support);
    return true;
}

/* One output row's weighted sum of input rows. Rows first: it runs over whole rows, which the compiler turns into vector code, and
 * leaves few rows for the second direction. */
static void sum_rows(const mffa_image *im, const taps *t, int y, float *restrict row) {
    size_t n = (size_t)im->width_px * 3;
    memset(row, 0, n * sizeof *row);
    for (int k = 0; k < t->count[y]; k++) {
        const uint8_t *restrict from = im->pixels + (size_t)(t->first[y] + k) * n;
        float w = t->weight[(size_t)y * (size_t)t->most + (size_t)k];
        for (size_t x = 0; x < n; x++) row[x] += w * (float)from[x];
    }
    for (size_t x = 0; x < n; x++) row[x] /= 255;
}

static void sum_columns(const float *row, const taps *t, int side, float *r, float *g, float *b) {
    for (int x = 0; x < side; x++) {
        const float *w = t->weight + (size_t)x * (size_t)t->most, *from = row + (size_t)t->first[x] * 3;
        float sum[3] = {0};
        for (int k = 0; k < t->count[x]; k++, from += 3)
            for (int c = 0; c < 3; c++) sum[c] += w[k] * from[c];
        r[x] = sum[0], g[x] = sum[1], b[x] = sum[2];
    }
}

mffa_code mffa_resize_rgb(const mffa_image *im, int side, float *out, mffa_err *err) {
    MFFA_AUTO(taps_done) taps across = {0};
    MFFA_AUTO(taps_done) taps down = {0};
    MFFA_AUTO(mffa_free_p) float *row = mffa_alloc_array((size_t)im->width_px * 3, sizeof *row);
    if (!row || !make_taps(&across, im->width_px, side) || !make_taps(&down, im->height_px, side))
        return mffa_fail(err, MFFA_ENOMEM, "out of memory to resize %d x %d pixels", im->width_px, im->height_px);
    size_t plane = (size_t)side * (size_t)side;
    for (int y = 0; y < side; y++) {
        float *at = out + (size_t)y * (size_t)side;
        sum_rows(im, &down, y, row);
        sum_columns(row, &across, side, at, at + plane, at + 2 * plane);
    }
    return MFFA_OK;
}

static int nearest(int i, float scale, int in) {
    int at = (int)((float)i * scale); /* in float, as torch does: for some sizes this is not the quotient of the integers */
    return at < in ? at : in - 1;
}

void mffa_resize_mask(const mffa_image *mask, int side, uint8_t *out) {
    float across = (float)mask->width_px / (float)side, down = (float)mask->height_px / (float)side;
    for (int y = 0; y < side; y++) {
        const uint8_t *row = mask->pixels + (size_t)nearest(y, down, mask->height_px) * (size_t)mask->width_px;
        for (int x = 0; x < side; x++) *out++ = row[nearest(x, across, mask->width_px)] != 0;
    }
}

/* Position of output i in the input: between low and high, high's share being part. */
static float between(int i, float scale, int in, int *low, int *high) {
    float at = scale * ((float)i + .5f) - .5f;
    if (at < 0) at = 0;
    *low = (int)at < in - 1 ? (int)at : in - 1;
    *high = *low + 1 < in ? *low + 1 : *low;
    return at - (float)*low;
}

void mffa_resize_plane(const float *in, int h, int w, float *out, int oh, int ow) {
    enum { BLOCK = 256 }; /* columns whose positions are worked out once for all rows */
    int low[BLOCK], high[BLOCK];
    float part[BLOCK], across = (float)w / (float)ow, down = (float)h / (float)oh;
    for (int x0 = 0; x0 < ow; x0 += BLOCK) {
        int n = ow - x0 < BLOCK ? ow - x0 : BLOCK;
        for (int x = 0; x < n; x++) part[x] = between(x0 + x, across, w, &low[x], &high[x]);
        for (int y = 0; y < oh; y++) {
            int above, below;
            float share = between(y, down, h, &above, &below), *to = out + (size_t)y * (size_t)ow + x0;
            const float *a = in + (size_t)above * (size_t)w, *b = in + (size_t)below * (size_t)w;
            for (int x = 0; x < n; x++) {
                float upper = a[low[x]] * (1 - part[x]) + a[high[x]] * part[x], lower = b[low[x]] * (1 - part[x]) + b[high[x]] * part[x];
                to[x] = upper * (1 - share) + lower * share;
            }
        }
    }
}

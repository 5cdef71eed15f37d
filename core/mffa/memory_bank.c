#include "core/mffa/memory_bank.h"

#include <math.h>
#include <string.h>
#include "core/base/buf.h"
#include "core/mffa/kernels.h"
#include "core/mffa/parallel.h"
#include "core/nn/linalg.h"

enum { PRODUCTS = 1 << 24 /* floats at once: 64 MiB */ };

mffa_tensor *mffa_bank_embed(mffa_scope *s, const mffa_stages *f) {
    mffa_scope *in = mffa_scope_nest(s);
    int64_t side = mffa_tensor_size(f->stage[1], 2);
    mffa_tensor *parts[2] = {f->stage[1], mffa_upsample(in, f->stage[2], side, side)};
    mffa_tensor *pooled = mffa_avg_pool(in, mffa_cat(in, parts, 2, 1), 3, 1, 1);
    mffa_tensor *flat = mffa_reshape(in, pooled, 3, (int64_t[]){mffa_tensor_size(pooled, 0), mffa_tensor_size(pooled, 1), side * side});
    mffa_tensor *out = mffa_scope_keep(s, mffa_contiguous(in, mffa_permute(in, flat, 3, (int[]){0, 2, 1})));
    mffa_scope_close(in);
    return out;
}

mffa_code mffa_bank_init(mffa_bank *b, int64_t rows, int64_t width, mffa_err *err) {
    if (rows < 1 || rows > INT32_MAX || width < 1 || width > 1 << 16)
        return mffa_fail(err, MFFA_EINVAL, "memory bank of %lld rows of %lld: expected 1 to %d rows of 1 to %d", (long long)rows, (long long)width, INT32_MAX, 1 << 16);
    *b = (mffa_bank){.rows = rows, .width = width};
    b->features = mffa_alloc_array((size_t)rows, (size_t)width * sizeof *b->features);
    b->origin = mffa_alloc_array((size_t)rows, 2 * sizeof *b->origin);
    b->norms = mffa_alloc_array((size_t)rows, sizeof *b->norms);
    if (b->features && b->origin && b->norms) return MFFA_OK;
    mffa_bank_done(b);
    return mffa_fail(err, MFFA_ENOMEM, "out of memory for a memory bank of %lld rows of %lld: a smaller ratio needs less", (long long)rows, (long long)width);
}

void mffa_bank_done(mffa_bank *b) {
    if (!b) return;
    free(b->features);
    free(b->origin);
    free(b->norms);
    *b = (mffa_bank){0};
}

void mffa_bank_seal(mffa_bank *b) { mffa_linalg_row_norms(b->features, b->rows, b->width, b->norms); }

typedef struct search {
    const mffa_bank *bank;
    const float *x;
    float *products; /* [n, m]: x b, then |b|^2 - 2 x b */
    float *out;
    float longest; /* greatest length of a bank row */
} search;

static double squared_distance(const float *a, const float *b, int64_t width) {
    double sum = 0;
    for (int64_t k = 0; k < width; k++) sum += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
    return sum;
}

/* How far the float32 value of |b|^2 - 2 x b can be from the true one: a dot product of k terms in any order errs by at most
 * k u |x||b| / (1 - k u), u = 2^-24; |b|^2 is rounded once from double, doubling is exact and the last subtraction rounds its result. */
static double rounding_bound(double length_x, double length_b, int64_t width) {
    double u = 0x1p-24, dot = (double)(width + 2) * u / (1 - (double)(width + 2) * u) * length_x * length_b;
    return 2 * dot + 2 * u * (length_b * length_b + 2 * length_x * length_b);
}

static void search_rows(void *ctx, int64_t from, int64_t to) {
    const search *s = ctx;
    const mffa_bank *b = s->bank;
    for (int64_t i = from; i < to; i++) {
        const float *x = s->x + i * b->width;
        float *values = s->products + i * b->rows, norm;
        mffa_linalg_row_norms(x, 1, b->width, &norm);
        double least = mffa_kernel_expand(values, b->norms, b->rows), nearest = INFINITY;
        double may = least + 2 * rounding_bound(sqrt((double)norm) * 1.000001, (double)s->longest, b->width);
        for (int64_t j = 0; j < b->rows; j++)
            if ((double)values[j] <= may) nearest = fmin(nearest, squared_distance(x, b->features + j * b->width, b->width));
        s->out[i] = (float)sqrt(nearest);
    }
}

mffa_code mffa_bank_nearest(const mffa_bank *b, const mffa_device *d, const float *x, int64_t n, float *out, mffa_err *err) {
    int64_t step = PRODUCTS / b->rows < 1 ? 1 : PRODUCTS / b->rows;
    if (step > n) step = n;
    MFFA_AUTO(mffa_free_p) float *products = mffa_alloc_array((size_t)step, (size_t)b->rows * sizeof *products);
    if (!products) return mffa_fail(err, MFFA_ENOMEM, "out of memory for distances to a memory bank of %lld rows", (long long)b->rows);
    float longest = 0;
    for (int64_t j = 0; j < b->rows; j++) longest = fmaxf(longest, b->norms[j]);
    mffa_code rc = MFFA_OK;
    for (int64_t i = 0; !rc && i < n; i += step) {
        int64_t rows = n - i < step ? n - i : step;
        rc = mffa_linalg_product_nt(d, x + i * b->width, rows, b->features, b->rows, b->width, 1, 0, products, err);
        search s = {.bank = b, .x = x + i * b->width, .products = products, .out = out + i, .longest = sqrtf(longest) * 1.000001f};
        if (!rc) mffa_parallel(mffa_device_threads(d), rows, search_rows, &s);
    }
    return rc;
}

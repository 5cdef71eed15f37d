#include "core/mffa/memory_bank.h"

#include <math.h>
#include <string.h>
#include "core/base/buf.h"
#include "core/mffa/kernels.h"
#include "core/mffa/parallel.h"
#include "core/nn/linalg.h"

enum { PRODUCTS = 1 << 24 /* floats at once: 64 MiB */, PAIR_FLOATS = 1 << 22 /* of pairs measured at once */ };

mffa_tensor *mffa_bank_embed(mffa_scope *s, const mffa_stages *f) {
    mffa_scope *in = mffa_scope_nest(s);
    int64_t side = mffa_tensor_size(f->stage[1], 2);
    mffa_tensor *parts[2] = {f->stage[1], mffa_upsample(in, f->stage[2], side, side)};
    mffa_tensor *pooled = mffa_avg_pool(in, mffa_cat(in, parts, 2, 1), 3, 1, 1);
    mffa_tensor *flat = mffa_reshape(in, pooled, 3, (int64_t[]){mffa_tensor_size(pooled, 0), mffa_tensor_size(pooled, 1), side * side});
    mffa_tensor *out = mffa_scope_keep(s, mffa_cast(in, mffa_contiguous(in, mffa_permute(in, flat, 3, (int[]){0, 2, 1})), MFFA_F32));
    mffa_scope_close(in);
    return out;
}

mffa_code mffa_bank_init(mffa_bank *b, int64_t rows, int64_t width, mffa_err *err) {
    if (rows < 1 || rows > INT32_MAX || width < 1 || width > 1 << 16)
        return mffa_fail(err, MFFA_EINVAL, "memory bank of %lld rows of %lld: expected 1 to %d rows of 1 to %d", (long long)rows,
                         (long long)width, INT32_MAX, 1 << 16);
    *b = (mffa_bank){.rows = rows, .width = width};
    b->features = mffa_alloc_array((size_t)rows, (size_t)width * sizeof *b->features);
    b->origin = mffa_alloc_array((size_t)rows, 2 * sizeof *b->origin);
    b->norms = mffa_alloc_array((size_t)rows, sizeof *b->norms);
    if (b->features && b->origin && b->norms) return MFFA_OK;
    mffa_bank_done(b);
    return mffa_fail(err, MFFA_ENOMEM, "out of memory for a memory bank of %lld rows of %lld: a smaller ratio needs less", (long long)rows,
                     (long long)width);
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
    double longest; /* greatest length of a bank row */
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
        double may = least + 2 * rounding_bound(sqrt((double)norm) * 1.000001, s->longest, b->width);
        for (int64_t j = 0; j < b->rows; j++)
            if ((double)values[j] <= may) nearest = fmin(nearest, squared_distance(x, b->features + j * b->width, b->width));
        s->out[i] = (float)sqrt(nearest);
    }
}

static int64_t patches_at_once(const mffa_bank *b, int64_t n) {
    int64_t step = PRODUCTS / b->rows < 1 ? 1 : PRODUCTS / b->rows;
    return step < n ? step : n;
}

int64_t mffa_bank_nearest_bytes(const mffa_bank *b, int64_t n) { return 4 * b->rows * patches_at_once(b, n); }

static double longest_of(const mffa_bank *b) {
    float longest = 0;
    for (int64_t j = 0; j < b->rows; j++) longest = fmaxf(longest, b->norms[j]);
    return sqrt((double)longest) * 1.000001;
}

mffa_code mffa_bank_nearest(const mffa_bank *b, const mffa_device *d, const float *x, int64_t n, float *out, mffa_err *err) {
    int64_t step = patches_at_once(b, n);
    MFFA_AUTO(mffa_free_p) float *products = mffa_alloc_array((size_t)step, (size_t)b->rows * sizeof *products);
    if (!products) return mffa_fail(err, MFFA_ENOMEM, "out of memory for distances to a memory bank of %lld rows", (long long)b->rows);
    mffa_code rc = MFFA_OK;
    for (int64_t i = 0; !rc && i < n; i += step) {
        int64_t rows = n - i < step ? n - i : step;
        rc = mffa_linalg_product_nt(d, x + i * b->width, rows, b->features, b->rows, b->width, 1, 0, products, err);
        search s = {.bank = b, .x = x + i * b->width, .products = products, .out = out + i, .longest = longest_of(b)};
        if (!rc) mffa_parallel(mffa_device_threads(d), rows, search_rows, &s);
    }
    return rc;
}

/* ---- on a device ---- */

mffa_bank_tensors mffa_bank_upload(mffa_scope *s, const mffa_bank *b) {
    return (mffa_bank_tensors){.features = mffa_tensor_from(s, MFFA_F32, b->features, 2, (int64_t[]){b->rows, b->width}),
                               .norms = mffa_tensor_from(s, MFFA_F32, b->norms, 1, &b->rows),
                               .longest = longest_of(b)};
}

int64_t mffa_bank_tensors_bytes(const mffa_bank *b) { return 4 * b->rows * (b->width + 1); }

int64_t mffa_bank_nearest_on_bytes(const mffa_bank *b, int64_t n) {
    int64_t step = PRODUCTS / b->rows + 1 < n ? PRODUCTS / b->rows + 1 : n;
    return 4 * n + step * (5 * b->rows + 16 * b->width) +
           24 * (PAIR_FLOATS + b->width); /* values and which are candidates; x in double; pairs */
}

/* Each row's greatest value that may belong to its nearest row: rounding_bound is linear in the length of x. */
static mffa_tensor *bounds(mffa_scope *s, const mffa_bank_tensors *b, mffa_tensor *x, mffa_tensor *values) {
    int64_t width = mffa_tensor_size(x, 1);
    double fixed = 2 * rounding_bound(0, b->longest, width), slope = 2 * rounding_bound(1, b->longest, width) - fixed;
    mffa_tensor *wide = mffa_cast(s, x, MFFA_F64);
    mffa_tensor *length = mffa_sqrt(s, mffa_sum(s, mffa_mul(s, wide, wide), 1));
    return mffa_add(s, mffa_cast(s, mffa_min(s, values, 1), MFFA_F64), mffa_affine(s, length, slope, fixed));
}

/* Squared distances of pairs (rows of x and of the bank) by differences in double, the least for each row of x. */
static mffa_tensor *measure(mffa_scope *s, const mffa_bank_tensors *b, mffa_tensor *x, mffa_tensor *pairs) {
    int64_t n = mffa_tensor_size(x, 0), count = mffa_tensor_size(pairs, 0), step = PAIR_FLOATS / mffa_tensor_size(x, 1) + 1;
    mffa_tensor *row = mffa_select(s, pairs, 1, 0), *column = mffa_select(s, pairs, 1, 1);
    mffa_tensor *squared = mffa_tensor_from(s, MFFA_F64, NULL, 1, &count);
    for (int64_t i = 0; i < count && mffa_scope_ok(s); i += step) {
        int64_t k = count - i < step ? count - i : step;
        mffa_scope *in = mffa_scope_nest(s);
        mffa_tensor *a = mffa_cast(in, mffa_take(in, x, 0, mffa_narrow(in, row, 0, i, k)), MFFA_F64);
        mffa_tensor *c = mffa_cast(in, mffa_take(in, b->features, 0, mffa_narrow(in, column, 0, i, k)), MFFA_F64);
        mffa_tensor *d = mffa_sub(in, a, c);
        mffa_copy_into(in, squared, 0, i, mffa_sum(in, mffa_mul_in(in, d, d), 1));
        mffa_scope_close(in);
    }
    return mffa_least_of(s, n, row, squared);
}

mffa_tensor *mffa_bank_nearest_on(mffa_scope *s, const mffa_bank_tensors *b, mffa_tensor *x) {
    int64_t n = mffa_tensor_size(x, 0), m = mffa_tensor_size(b->features, 0), step = m ? PRODUCTS / m + 1 : 1;
    mffa_tensor *out = mffa_tensor_from(s, MFFA_F32, NULL, 1, &n);
    for (int64_t i = 0; i < n && mffa_scope_ok(s); i += step) {
        int64_t rows = n - i < step ? n - i : step;
        mffa_scope *in = mffa_scope_nest(s);
        mffa_tensor *part = mffa_narrow(in, x, 0, i, rows), *values = mffa_tensor_from(in, MFFA_F32, NULL, 2, (int64_t[]){rows, m});
        mffa_gemm(in, values, part, b->features, (mffa_gemm_how){.transpose_b = true, .alpha = -2});
        mffa_add_in(in, values, b->norms);
        mffa_tensor *least = measure(in, b, part, mffa_at_most(in, values, bounds(in, b, part, values)));
        mffa_copy_into(in, out, 0, i, mffa_sqrt(in, least));
        mffa_scope_close(in);
    }
    return out;
}

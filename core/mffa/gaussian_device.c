#include "core/mffa/gaussian_device.h"

#include <math.h>
#include <string.h>
#include "core/base/buf.h"
#include "core/mffa/gaussian_parts.h"
#include "core/mffa/kernels.h"

static const int64_t unpacked_bytes = INT64_C(256) << 20;

static int64_t positions_at_once(int64_t channels) {
    int64_t n = unpacked_bytes / (4 * channels * channels);
    return n < 1 ? 1 : n;
}

/* I64 [d d], places of a packed lower triangle's entries; above the diagonal the place of the mirrored entry. */
static mffa_tensor *places(mffa_scope *s, int64_t d) {
    MFFA_AUTO(mffa_free_p) int64_t *place = mffa_alloc_array((size_t)(d * d), sizeof *place);
    if (!place) return mffa_scope_fail(s, MFFA_ENOMEM, "out of memory for %lld channels", (long long)d), NULL;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) place[i * d + j] = place[j * d + i] = mffa_packed(i) + j;
    int64_t count = d * d;
    return mffa_tensor_from(s, MFFA_I64, place, 1, &count);
}

static mffa_tensor *lower_ones(mffa_scope *s, int64_t d) {
    MFFA_AUTO(mffa_free_p) float *one = calloc((size_t)(d * d), sizeof *one);
    if (!one) return mffa_scope_fail(s, MFFA_ENOMEM, "out of memory for %lld channels", (long long)d), NULL;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) one[i * d + j] = 1;
    return mffa_tensor_from(s, MFFA_F32, one, 2, (int64_t[]){d, d});
}

/* ---- distances ---- */

mffa_gaussian_tensors mffa_gaussian_upload(mffa_scope *s, const mffa_gaussian *g) {
    int64_t p = g->positions, d = g->channels;
    return (mffa_gaussian_tensors){.mean = mffa_tensor_from(s, MFFA_F32, g->mean, 2, (int64_t[]){p, d}),
                                   .scale = mffa_tensor_from(s, MFFA_F32, g->scale, 3, (int64_t[]){p, d, 1}),
                                   .factor = mffa_tensor_from(s, MFFA_I16, g->factor, 2, (int64_t[]){p, mffa_packed(d)}),
                                   .place = places(s, d),
                                   .lower = lower_ones(s, d)};
}

/* W of positions from..from + count - 1: [count, d, d]. */
static mffa_tensor *unpack(mffa_scope *s, const mffa_gaussian_tensors *g, int64_t from, int64_t count) {
    int64_t d = mffa_tensor_size(g->lower, 0);
    mffa_tensor *packed = mffa_take(s, mffa_narrow(s, g->factor, 0, from, count), 1, g->place);
    mffa_tensor *w = mffa_reshape(s, mffa_cast(s, packed, MFFA_F32), 3, (int64_t[]){count, d, d});
    mffa_drop(packed);
    return mffa_mul_in(s, mffa_mul_in(s, w, g->lower), mffa_narrow(s, g->scale, 0, from, count));
}

mffa_tensor *mffa_gaussian_distance_on(mffa_scope *s, const mffa_gaussian_tensors *g, mffa_tensor *x) {
    int64_t n = mffa_tensor_size(x, 0), p = mffa_tensor_size(x, 1), d = mffa_tensor_size(x, 2), step = positions_at_once(d ? d : 1);
    mffa_tensor *out = mffa_tensor_from(s, MFFA_F32, NULL, 2, (int64_t[]){n, p});
    for (int64_t from = 0; from < p && mffa_scope_ok(s); from += step) {
        int64_t count = p - from < step ? p - from : step;
        mffa_scope *in = mffa_scope_nest(s);
        mffa_tensor *z = mffa_sub(in, mffa_narrow(in, x, 1, from, count), mffa_narrow(in, g->mean, 0, from, count));
        z = mffa_contiguous(in, mffa_permute(in, z, 3, (int[]){1, 0, 2})); /* [count, n, d] */
        mffa_tensor *y = mffa_tensor_from(in, MFFA_F32, NULL, 3, (int64_t[]){count, n, d});
        mffa_gemm(in, y, z, unpack(in, g, from, count), (mffa_gemm_how){.transpose_b = true, .alpha = 1});
        mffa_tensor *length = mffa_sqrt(in, mffa_sum(in, mffa_mul_in(in, y, y), 2));
        mffa_copy_into(in, out, 1, from, mffa_permute(in, length, 2, (int[]){1, 0}));
        mffa_scope_close(in);
    }
    return out;
}

/* ---- sums ---- */

struct mffa_gaussian_growing {
    mffa_scope *scope;    /* owns what follows */
    mffa_tensor *mean;    /* F64 [P, d] */
    mffa_tensor *scatter; /* [P, d, d] */
    int64_t positions, channels, images;
    float *sample; /* host [SAMPLES, P, d], the first pictures */
};

void mffa_gaussian_growing_close(mffa_gaussian_growing *g) {
    if (!g) return;
    mffa_scope_close(g->scope);
    free(g->sample);
    free(g);
}

mffa_code mffa_gaussian_growing_open(const mffa_device *d, int64_t positions, int64_t channels, mffa_gaussian_growing **out,
                                     mffa_err *err) {
    MFFA_AUTO(mffa_gaussian_growing_close_p) mffa_gaussian_growing *g = calloc(1, sizeof *g);
    if (!g) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *g = (mffa_gaussian_growing){.positions = positions, .channels = channels, .scope = mffa_scope_open(d, MFFA_INFER)};
    g->sample = calloc((size_t)(MFFA_GAUSSIAN_SAMPLES * positions * channels), sizeof *g->sample);
    if (!g->sample) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %d samples of the Gaussian", MFFA_GAUSSIAN_SAMPLES);
    g->mean = mffa_tensor_from(g->scope, MFFA_F64, NULL, 2, (int64_t[]){positions, channels});
    g->scatter = mffa_tensor_from(g->scope, MFFA_F32, NULL, 3, (int64_t[]){positions, channels, channels});
    mffa_code rc = mffa_scope_check(g->scope, err);
    if (rc)
        return mffa_wrap(err, rc, "Gaussian of %lld positions and %lld channels: a smaller grid needs less", (long long)positions,
                         (long long)channels);
    *out = MFFA_TAKE(g);
    return MFFA_OK;
}

/* 0, or NaN when a value is not finite. */
static mffa_code check_finite(mffa_scope *s, mffa_tensor *x, mffa_err *err) {
    float zero = NAN;
    mffa_tensor *flat = mffa_reshape(s, mffa_affine(s, x, 0, 0), 1, (int64_t[]){-1});
    mffa_tensor_read(s, mffa_sum(s, flat, 0), MFFA_F32, &zero, 1);
    mffa_code rc = mffa_scope_check(s, err);
    if (!rc && !isfinite(zero)) rc = mffa_fail(err, MFFA_EINVAL, "a feature is not finite: expected finite values (are the weights sane?)");
    return rc;
}

static void keep_samples(mffa_gaussian_growing *g, mffa_scope *s, mffa_tensor *x, int64_t n) {
    int64_t size = g->positions * g->channels, more = MFFA_GAUSSIAN_SAMPLES - g->images;
    if (more > n) more = n;
    if (more > 0) mffa_tensor_read(s, mffa_narrow(s, x, 0, 0, more), MFFA_F32, g->sample + g->images * size, more * size);
}

/* As gaussian.c's add_positions, for all positions at once. */
mffa_code mffa_gaussian_growing_add(mffa_gaussian_growing *g, mffa_tensor *x, mffa_err *err) {
    int64_t n = mffa_tensor_size(x, 0);
    double all = (double)(g->images + n), weight = sqrt((double)g->images * (double)n / all);
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(mffa_scope_device(g->scope), MFFA_INFER);
    mffa_code rc = check_finite(s, x, err);
    if (rc) return rc;
    keep_samples(g, s, x, n);
    mffa_tensor *centre = mffa_mean(s, mffa_cast(s, x, MFFA_F64), 0), *moved = mffa_sub(s, centre, g->mean);
    mffa_tensor *parts[2] = {
        mffa_cast(s, mffa_sub(s, x, centre), MFFA_F32),
        mffa_reshape(s, mffa_cast(s, mffa_affine(s, moved, weight, 0), MFFA_F32), 3, (int64_t[]){1, g->positions, g->channels})};
    mffa_tensor *v = mffa_contiguous(s, mffa_permute(s, mffa_cat(s, parts, 2, 0), 3, (int[]){1, 0, 2})); /* [P, n + 1, d] */
    mffa_gemm(s, g->scatter, v, v, (mffa_gemm_how){.transpose_a = true, .alpha = 1, .beta = 1});
    mffa_add_in(s, g->mean, mffa_affine(s, moved, (double)n / all, 0));
    rc = mffa_scope_check(s, err);
    if (!rc) g->images += n;
    return rc;
}

mffa_code mffa_gaussian_growing_sums(const mffa_gaussian_growing *g, int threads, mffa_gaussian_sums **out, mffa_err *err) {
    MFFA_AUTO(mffa_gaussian_sums_close_p) mffa_gaussian_sums *sums = NULL;
    int64_t d = g->channels, size = g->positions * d, step = positions_at_once(d);
    mffa_code rc = mffa_gaussian_sums_open(g->positions, d, threads, &sums, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_free_p)
    int64_t *corner = mffa_alloc_array((size_t)mffa_packed(d), sizeof *corner); /* of a [d, d] matrix, in packed order */
    if (!corner) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld channels", (long long)d);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) corner[mffa_packed(i) + j] = i * d + j;
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(mffa_scope_device(g->scope), MFFA_INFER);
    mffa_tensor *flat = mffa_reshape(s, g->scatter, 2, (int64_t[]){g->positions, d * d});
    for (int64_t from = 0; from < g->positions && mffa_scope_ok(s); from += step) {
        int64_t count = g->positions - from < step ? g->positions - from : step;
        mffa_scope *in = mffa_scope_nest(s);
        mffa_tensor *packed = mffa_index_select(in, mffa_narrow(in, flat, 0, from, count), 1, corner, mffa_packed(d));
        mffa_tensor_read(in, packed, MFFA_F32, sums->scatter + from * mffa_packed(d), count * mffa_packed(d));
        mffa_scope_close(in);
    }
    mffa_tensor_read(s, g->mean, MFFA_F64, sums->mean, size);
    rc = mffa_scope_check(s, err);
    if (rc) return rc;
    memcpy(sums->sample, g->sample, (size_t)(MFFA_GAUSSIAN_SAMPLES * size) * sizeof *g->sample);
    sums->images = g->images;
    *out = MFFA_TAKE(sums);
    return MFFA_OK;
}

#include "core/mffa/gaussian_growing.h"

#include <math.h>
#include <string.h>
#include "core/base/buf.h"
#include "core/mffa/gaussian_parts.h"
#include "core/mffa/kernels.h"

enum { SAMPLES = MFFA_GAUSSIAN_SAMPLES };
static const int64_t work_bytes = INT64_C(128) << 20; /* of full matrices in double, when finishing; some six such sets live at once */

static int64_t positions_at_once(int64_t channels) { return work_bytes / (8 * channels * channels) + 1; }

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
    g->sample = calloc((size_t)(SAMPLES * positions * channels), sizeof *g->sample);
    if (!g->sample) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %d samples of the Gaussian", SAMPLES);
    g->mean = mffa_tensor_from(g->scope, MFFA_F64, NULL, 2, (int64_t[]){positions, channels});
    g->scatter = mffa_tensor_from(g->scope, MFFA_F32, NULL, 3, (int64_t[]){positions, channels, channels});
    mffa_code rc = mffa_scope_check(g->scope, err);
    if (rc)
        return mffa_wrap(err, rc, "Gaussian of %lld positions and %lld channels: a smaller grid needs less", (long long)positions,
                         (long long)channels);
    *out = MFFA_TAKE(g);
    return MFFA_OK;
}

int64_t mffa_gaussian_growing_bytes(int64_t positions, int64_t channels) { return positions * channels * (8 + 4 * channels); }

/* x in double, less its mean in both types, with the means' row, and that transposed. */
int64_t mffa_gaussian_growing_add_bytes(int64_t n, int64_t positions, int64_t channels) { return 28 * (n + 1) * positions * channels; }

int64_t mffa_gaussian_growing_finish_bytes(int64_t positions, int64_t channels) {
    int64_t d = channels, step = positions_at_once(d) < positions ? positions_at_once(d) : positions;
    return 6 * 8 * step * d * d + 28 * d * d; /* W, what makes its integers, W again from these; the index tensors */
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
    int64_t size = g->positions * g->channels, more = SAMPLES - g->images;
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

/* ---- finishing ---- */

typedef struct finishing {
    const mffa_gaussian_growing *sums;
    mffa_gaussian *g;
    double lambda, *mean; /* [P, d] */
    mffa_rng *random;
    mffa_gaussian_places places;
    mffa_tensor *corner, *diagonal; /* I64: a full matrix' entries in packed order; those on its diagonal */
    int64_t from, count;            /* positions of this step */
} finishing;

static mffa_tensor *index_of(mffa_scope *s, int64_t d, bool diagonal) {
    int64_t count = diagonal ? d : mffa_packed(d), n = 0;
    MFFA_AUTO(mffa_free_p) int64_t *place = mffa_alloc_array((size_t)count, sizeof *place);
    if (!place) return mffa_scope_fail(s, MFFA_ENOMEM, "out of memory for %lld channels", (long long)d), NULL;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = diagonal ? i : 0; j <= i; j++) place[n++] = i * d + j;
    return mffa_tensor_from(s, MFFA_I64, place, 1, &count);
}

static mffa_tensor *flat(mffa_scope *s, const finishing *f, mffa_tensor *matrices) {
    return mffa_reshape(s, matrices, 2, (int64_t[]){f->count, f->g->channels * f->g->channels});
}

/* C [count, d, d] in double, and its diagonal's roots [count, d] to the host. */
static mffa_tensor *covariance(mffa_scope *s, const finishing *f, double *deviation) {
    int64_t d = f->g->channels;
    mffa_tensor *scatter = mffa_cast(s, mffa_narrow(s, f->sums->scatter, 0, f->from, f->count), MFFA_F64);
    mffa_tensor *ridge = mffa_affine(s, mffa_cast(s, mffa_eye(s, d), MFFA_F64), f->lambda, 0);
    mffa_tensor *c = mffa_add_in(s, mffa_affine(s, scatter, 1 / (double)(f->sums->images - 1), 0), ridge);
    mffa_drop(scatter);
    mffa_tensor_read(s, mffa_sqrt(s, mffa_take(s, flat(s, f, c), 1, f->diagonal)), MFFA_F64, deviation, f->count * d);
    return c;
}

/* Rows of W as integers, to the host too: what gaussian.c's pack does. */
static mffa_gaussian_tensors pack(mffa_scope *s, const finishing *f, mffa_tensor *w) {
    int64_t d = f->g->channels, p = mffa_packed(d);
    mffa_scope *in = mffa_scope_nest(s);
    mffa_tensor *scale = mffa_cast(in, mffa_affine(in, mffa_max(in, mffa_abs(in, w), 2), 1.0 / 32767, 0), MFFA_F32);
    scale = mffa_scope_keep(s, mffa_reshape(in, scale, 3, (int64_t[]){f->count, d, 1}));
    mffa_tensor *q = mffa_clamp(in, mffa_round(in, mffa_div(in, w, mffa_cast(in, scale, MFFA_F64))), -32767, 32767);
    mffa_tensor *factor = mffa_scope_keep(s, mffa_take(in, flat(in, f, mffa_cast(in, q, MFFA_I16)), 1, f->corner));
    mffa_scope_close(in);
    mffa_tensor_read(s, scale, MFFA_F32, f->g->scale + f->from * d, f->count * d);
    mffa_tensor_read(s, factor, MFFA_I16, f->g->factor + f->from * p, f->count * p);
    return (mffa_gaussian_tensors){.mean = mffa_cast(s, mffa_narrow(s, f->sums->mean, 0, f->from, f->count), MFFA_F32),
                                   .scale = scale,
                                   .factor = factor,
                                   .places = f->places};
}

/* Distances of x [n, count, d] in double: [n, count]. */
static mffa_tensor *in_double(mffa_scope *s, const finishing *f, mffa_tensor *w, mffa_tensor *x) {
    int64_t n = mffa_tensor_size(x, 0);
    mffa_tensor *z = mffa_sub(s, mffa_cast(s, x, MFFA_F64), mffa_narrow(s, f->sums->mean, 0, f->from, f->count));
    z = mffa_contiguous(s, mffa_permute(s, z, 3, (int[]){1, 0, 2}));
    mffa_tensor *y = mffa_tensor_from(s, MFFA_F64, NULL, 3, (int64_t[]){f->count, n, f->g->channels});
    mffa_gemm(s, y, z, w, (mffa_gemm_how){.transpose_b = true, .alpha = 1});
    return mffa_permute(s, mffa_sqrt(s, mffa_sum(s, mffa_mul_in(s, y, y), 2)), 2, (int[]){1, 0});
}

/* x [2 * SAMPLES, count, d]: training vectors, then random ones. */
static void vectors(const finishing *f, const double *deviation, float *x) {
    int64_t d = f->g->channels, size = f->count * d, trained = f->sums->images < SAMPLES ? f->sums->images : SAMPLES;
    for (int64_t i = 0; i < trained; i++)
        memcpy(x + i * size, f->sums->sample + (i * f->g->positions + f->from) * d, (size_t)size * sizeof *x);
    for (int64_t i = trained; i < 2 * SAMPLES; i++)
        for (int64_t c = 0; c < size; c++) x[i * size + c] = (float)(f->mean[f->from * d + c] + deviation[c] * mffa_rng_normal(f->random));
}

static void measure(mffa_scope *s, const finishing *f, mffa_tensor *w, const mffa_gaussian_tensors *packed, const double *deviation) {
    int64_t d = f->g->channels, n = 2 * SAMPLES * f->count;
    MFFA_AUTO(mffa_free_p) float *x = mffa_alloc_array((size_t)(n * d), sizeof *x);
    MFFA_AUTO(mffa_free_p) double *want = mffa_alloc_array((size_t)n, sizeof *want);
    MFFA_AUTO(mffa_free_p) double *got = mffa_alloc_array((size_t)n, sizeof *got);
    if (!x || !want || !got) return mffa_scope_fail(s, MFFA_ENOMEM, "out of memory for %lld covariances", (long long)f->count);
    vectors(f, deviation, x);
    mffa_tensor *on = mffa_tensor_from(s, MFFA_F32, x, 3, (int64_t[]){2 * SAMPLES, f->count, d});
    mffa_tensor_read(s, in_double(s, f, w, on), MFFA_F64, want, n);
    mffa_tensor_read(s, mffa_gaussian_distance_on(s, packed, on), MFFA_F64, got, n);
    for (int64_t i = 0; mffa_scope_ok(s) && i < n; i++)
        if (want[i] > 0) f->g->worst_error = fmax(f->g->worst_error, fabs(got[i] - want[i]) / want[i]);
}

static mffa_code finish_step(const finishing *f, mffa_scope *all, mffa_err *err) {
    int64_t d = f->g->channels;
    MFFA_AUTO(mffa_free_p) double *deviation = mffa_alloc_array((size_t)(f->count * d), sizeof *deviation);
    if (!deviation) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld covariances", (long long)f->count);
    mffa_scope *s = mffa_scope_nest(all);
    mffa_tensor *c = covariance(s, f, deviation), *l = mffa_cholesky(s, c);
    mffa_drop(c);
    mffa_tensor *w = mffa_tri_inverse(s, l);
    mffa_drop(l);
    mffa_gaussian_tensors packed = pack(s, f, w);
    measure(s, f, w, &packed, deviation);
    if (f->g->scatter) {
        mffa_tensor *kept = mffa_take(s, flat(s, f, mffa_narrow(s, f->sums->scatter, 0, f->from, f->count)), 1, f->corner);
        mffa_tensor_read(s, kept, MFFA_F32, f->g->scatter + f->from * mffa_packed(d), f->count * mffa_packed(d));
    }
    mffa_scope_close(s);
    mffa_code rc = mffa_scope_check(all, err);
    return rc ? mffa_wrap(err, rc, "covariances of positions %lld to %lld", (long long)f->from, (long long)(f->from + f->count - 1))
              : MFFA_OK;
}

static mffa_code finish_all(finishing *f, const mffa_progress *progress, mffa_err *err) {
    int64_t p = f->g->positions, d = f->g->channels, step = positions_at_once(d);
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(mffa_scope_device(f->sums->scope), MFFA_INFER);
    f->places = mffa_gaussian_places_of(s, d);
    f->corner = index_of(s, d, false), f->diagonal = index_of(s, d, true);
    mffa_tensor_read(s, f->sums->mean, MFFA_F64, f->mean, p * d);
    mffa_code rc = mffa_scope_check(s, err);
    for (int64_t i = 0; !rc && i < p * d; i++) f->g->mean[i] = (float)f->mean[i];
    for (f->from = 0; !rc && f->from < p; f->from += step) {
        f->count = p - f->from < step ? p - f->from : step;
        rc = mffa_tick(progress, "gaussian", f->from, p, err);
        if (!rc) rc = finish_step(f, s, err);
    }
    return rc ? rc : mffa_tick(progress, "gaussian", p, p, err);
}

mffa_code mffa_gaussian_growing_finish(const mffa_gaussian_growing *sums, double lambda, bool keep_scatter, mffa_rng random,
                                       const mffa_progress *progress, mffa_gaussian *out, mffa_err *err) {
    MFFA_AUTO(mffa_gaussian_done) mffa_gaussian g = {.positions = sums->positions, .channels = sums->channels, .images = sums->images};
    size_t vectors = (size_t)(g.positions * g.channels), packed = (size_t)(g.positions * mffa_packed(g.channels));
    MFFA_AUTO(mffa_free_p) double *mean = mffa_alloc_array(vectors, sizeof *mean);
    if (g.images < 2) return mffa_fail(err, MFFA_EINVAL, "%lld training picture: a covariance needs at least 2", (long long)g.images);
    g.mean = mffa_alloc_array(vectors, sizeof *g.mean);
    g.scale = mffa_alloc_array(vectors, sizeof *g.scale);
    g.factor = mffa_alloc_array(packed, sizeof *g.factor);
    g.scatter = keep_scatter ? mffa_alloc_array(packed, sizeof *g.scatter) : NULL;
    if (!mean || !g.mean || !g.scale || !g.factor || (keep_scatter && !g.scatter))
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for a Gaussian of %lld positions", (long long)g.positions);
    finishing f = {.sums = sums, .g = &g, .lambda = lambda, .mean = mean, .random = &random};
    mffa_code rc = finish_all(&f, progress, err);
    if (rc) return rc;
    *out = g;
    g = (mffa_gaussian){0};
    return MFFA_OK;
}

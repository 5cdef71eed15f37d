#include "core/mffa/gaussian.h"

#include <math.h>
#include <string.h>
#include "core/base/buf.h"
#include "core/mffa/gaussian_parts.h"
#include "core/mffa/kernels.h"
#include "core/mffa/parallel.h"
#include "core/nn/linalg.h"

enum { SAMPLES = MFFA_GAUSSIAN_SAMPLES, AT_ONCE = 8, MOST_CHANNELS = 4096 };
static const int64_t work_bytes =
    INT64_C(16) << 20; /* of full matrices in double, when finishing: C, and while it is factored two copies */

void mffa_gaussian_done(mffa_gaussian *g) {
    if (!g) return;
    free(g->mean);
    free(g->factor);
    free(g->scale);
    free(g->scatter);
    *g = (mffa_gaussian){0};
}

void mffa_gaussian_sums_close(mffa_gaussian_sums *s) {
    if (!s) return;
    free(s->mean);
    free(s->scatter);
    free(s->sample);
    free(s);
}

int64_t mffa_gaussian_sums_bytes(int64_t positions, int64_t channels) {
    return positions * (mffa_packed(channels) * 4 + channels * (8 + SAMPLES * 4));
}

int64_t mffa_gaussian_finish_bytes(int64_t positions, int64_t channels, bool keep_scatter) {
    int64_t fitted = positions * channels * 8; /* mean and scale */
    return mffa_gaussian_sums_bytes(positions, channels) + fitted + 3 * work_bytes +
           (keep_scatter ? positions * mffa_packed(channels) * 2 : 0);
}

mffa_code mffa_gaussian_sums_open(int64_t positions, int64_t channels, int threads, mffa_gaussian_sums **out, mffa_err *err) {
    if (positions < 1 || positions > 1 << 20 || channels < 1 || channels > MOST_CHANNELS)
        return mffa_fail(err, MFFA_EINVAL, "Gaussian of %lld positions and %lld channels: expected 1 to %d and 1 to %d",
                         (long long)positions, (long long)channels, 1 << 20, MOST_CHANNELS);
    MFFA_AUTO(mffa_gaussian_sums_close_p) mffa_gaussian_sums *s = calloc(1, sizeof *s);
    if (!s) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *s = (mffa_gaussian_sums){.positions = positions, .channels = channels, .threads = threads};
    s->mean = calloc((size_t)(positions * channels), sizeof *s->mean);
    s->scatter = calloc((size_t)(positions * mffa_packed(channels)), sizeof *s->scatter);
    s->sample = calloc((size_t)(SAMPLES * positions * channels), sizeof *s->sample);
    if (!s->mean || !s->scatter || !s->sample)
        return mffa_fail(err, MFFA_ENOMEM,
                         "out of memory for a Gaussian of %lld positions and %lld channels (%lld MiB): a smaller grid needs less",
                         (long long)positions, (long long)channels, (long long)(mffa_gaussian_sums_bytes(positions, channels) >> 20));
    *out = MFFA_TAKE(s);
    return MFFA_OK;
}

static int pitch_of(int64_t d) { return (int)((d + MFFA_LANE - 1) / MFFA_LANE * MFFA_LANE); }

/* ---- adding ---- */

typedef struct batch {
    mffa_gaussian_sums *sums;
    const float *x;
    int64_t n; /* at most AT_ONCE */
} batch;

/* Joins the batch's mean and scatter to those so far: S += sum (x - b)(x - b)^T + N n / (N + n) (b - mean)(b - mean)^T. */
static void add_positions(void *ctx, int64_t from, int64_t to) {
    const batch *at = ctx;
    mffa_gaussian_sums *s = at->sums;
    int64_t d = s->channels;
    int pitch = pitch_of(d), n = (int)at->n;
    float v[MFFA_VECTORS * (MOST_CHANNELS + MFFA_LANE)];
    double weight = sqrt((double)s->images * n / (double)(s->images + n)), share = (double)n / (double)(s->images + n);
    memset(v, 0, sizeof(float) * MFFA_VECTORS * (size_t)pitch);
    for (int64_t p = from; p < to; p++) {
        for (int64_t c = 0; c < d; c++) {
            double centre = 0, *mean = &s->mean[p * d + c];
            for (int i = 0; i < n; i++) centre += at->x[(i * s->positions + p) * d + c];
            centre /= n;
            for (int i = 0; i < n; i++) v[i * pitch + c] = (float)(at->x[(i * s->positions + p) * d + c] - centre);
            v[n * pitch + c] = (float)(weight * (centre - *mean));
            *mean += share * (centre - *mean);
        }
        mffa_kernel_scatter(s->scatter + p * mffa_packed(d), (int)d, v, pitch, n + 1);
    }
}

mffa_code mffa_gaussian_sums_add(mffa_gaussian_sums *s, const float *x, int64_t n, mffa_err *err) {
    int64_t size = s->positions * s->channels;
    for (int64_t i = 0; i < n * size; i++)
        if (!isfinite(x[i]))
            return mffa_fail(err, MFFA_EINVAL, "feature %lld of position %lld is %g: expected finite values (are the weights sane?)",
                             (long long)(i % s->channels), (long long)(i / s->channels % s->positions), (double)x[i]);
    for (int64_t at = 0; at < n; at += AT_ONCE) {
        batch b = {.sums = s, .x = x + at * size, .n = n - at < AT_ONCE ? n - at : AT_ONCE};
        int64_t sampled = s->images < SAMPLES ? SAMPLES - s->images : 0;
        if (sampled > b.n) sampled = b.n;
        if (sampled) memcpy(s->sample + s->images * size, b.x, (size_t)(sampled * size) * sizeof *x);
        mffa_parallel(s->threads, s->positions, add_positions, &b);
        s->images += b.n;
    }
    return MFFA_OK;
}

/* ---- distances ---- */

typedef struct query {
    const mffa_gaussian *g;
    const float *x;
    float *out;
    int64_t n;
} query;

static void distance_positions(void *ctx, int64_t from, int64_t to) {
    const query *q = ctx;
    const mffa_gaussian *g = q->g;
    int64_t d = g->channels;
    int pitch = pitch_of(d);
    float v[AT_ONCE * (MOST_CHANNELS + MFFA_LANE)], squared[AT_ONCE];
    memset(v, 0, sizeof(float) * AT_ONCE * (size_t)pitch);
    for (int64_t first = 0; first < q->n; first += AT_ONCE) {
        int64_t n = q->n - first < AT_ONCE ? q->n - first : AT_ONCE;
        for (int64_t p = from; p < to; p++) {
            for (int64_t i = 0; i < n; i++)
                for (int64_t c = 0; c < d; c++) v[i * pitch + c] = q->x[((first + i) * g->positions + p) * d + c] - g->mean[p * d + c];
            mffa_kernel_whiten(g->factor + p * mffa_packed(d), g->scale + p * d, (int)d, v, pitch, squared);
            for (int64_t i = 0; i < n; i++) q->out[(first + i) * g->positions + p] = sqrtf(squared[i]);
        }
    }
}

mffa_code mffa_gaussian_distance(const mffa_gaussian *g, const float *x, int64_t n, int threads, float *out, mffa_err *err) {
    if (g->channels < 1 || g->channels > MOST_CHANNELS || n < 0)
        return mffa_fail(err, MFFA_EINVAL, "Gaussian of %lld channels: expected 1 to %d", (long long)g->channels, MOST_CHANNELS);
    mffa_parallel(threads, g->positions, distance_positions, &(query){.g = g, .x = x, .out = out, .n = n});
    return MFFA_OK;
}

/* ---- finishing ---- */

/* Positions from..from + count - 1 on their way from sums to factors; w [count, d, d]: C, then L, then W. */
typedef struct chunk {
    mffa_gaussian_sums *sums;
    const float *scatter;
    mffa_gaussian *g;
    double *w;
    int64_t from, count;
    double lambda;
} chunk;

static void covariances(void *ctx, int64_t from, int64_t to) {
    const chunk *k = ctx;
    int64_t d = k->g->channels;
    double share = 1 / (double)(k->sums->images - 1);
    for (int64_t p = from; p < to; p++) {
        const float *s = k->scatter + (k->from + p) * mffa_packed(d);
        double *w = k->w + p * d * d;
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j <= i; j++) w[i * d + j] = w[j * d + i] = *s++ * share + (i == j ? k->lambda : 0);
    }
}

/* Rows of W as integers. The factors may lie where the scatter lay: those of position p end at or before the place where the scatter of
 * position p + 1 begins, and this position's scatter has been read. */
static void pack(const chunk *k) {
    int64_t d = k->g->channels;
    for (int64_t p = 0; p < k->count; p++) {
        int16_t *q = k->g->factor + (k->from + p) * mffa_packed(d);
        for (int64_t i = 0; i < d; i++) {
            const double *row = k->w + (p * d + i) * d;
            double most = 0;
            for (int64_t j = 0; j <= i; j++) most = fmax(most, fabs(row[j]));
            float scale = (float)(most / 32767);
            k->g->scale[(k->from + p) * d + i] = scale;
            for (int64_t j = 0; j <= i; j++) *q++ = (int16_t)lrint(fmax(-32767, fmin(32767, row[j] / (double)scale)));
        }
    }
}

static double distance_in_double(const double *w, const double *mean, const float *x, int64_t d, double *z) {
    double sum = 0;
    for (int64_t c = 0; c < d; c++) z[c] = (double)x[c] - mean[c];
    for (int64_t i = 0; i < d; i++) {
        double y = 0;
        for (int64_t j = 0; j <= i; j++) y += w[i * d + j] * z[j];
        sum += y * y;
    }
    return sqrt(sum);
}

/* The part of g that chunk k covers, to be used like a whole. */
static mffa_gaussian part_of(const chunk *k) {
    int64_t d = k->g->channels;
    return (mffa_gaussian){.positions = k->count,
                           .channels = d,
                           .mean = k->g->mean + k->from * d,
                           .factor = k->g->factor + k->from * mffa_packed(d),
                           .scale = k->g->scale + k->from * d};
}

/* deviation [count, d]: standard deviations, from C's diagonal. x [2 * SAMPLES, count, d]: work. */
static mffa_code measure(const chunk *k, mffa_rng *random, const double *deviation, float *x, float *got, double *z, mffa_err *err) {
    int64_t d = k->g->channels, size = k->count * d;
    int64_t trained = k->sums->images < SAMPLES ? k->sums->images : SAMPLES;
    for (int64_t i = 0; i < trained; i++)
        memcpy(x + i * size, k->sums->sample + (i * k->g->positions + k->from) * d, (size_t)size * sizeof *x);
    for (int64_t i = trained; i < 2 * SAMPLES; i++)
        for (int64_t c = 0; c < size; c++)
            x[i * size + c] = (float)(k->sums->mean[k->from * d + c] + deviation[c] * mffa_rng_normal(random));
    mffa_gaussian part = part_of(k);
    mffa_code rc = mffa_gaussian_distance(&part, x, 2 * SAMPLES, k->sums->threads, got, err);
    for (int64_t i = 0; !rc && i < 2 * SAMPLES; i++)
        for (int64_t p = 0; p < k->count; p++) {
            double want = distance_in_double(k->w + p * d * d, k->sums->mean + (k->from + p) * d, x + i * size + p * d, d, z);
            if (want > 0) k->g->worst_error = fmax(k->g->worst_error, fabs(got[i * k->count + p] - want) / want);
        }
    return rc;
}

static mffa_code finish_chunk(chunk *k, const mffa_device *device, mffa_rng *random, mffa_err *err) {
    int64_t d = k->g->channels;
    MFFA_AUTO(mffa_free_p) double *deviation = mffa_alloc_array((size_t)(k->count * d), sizeof *deviation);
    MFFA_AUTO(mffa_free_p) double *z = mffa_alloc_array((size_t)d, sizeof *z);
    MFFA_AUTO(mffa_free_p) float *x = mffa_alloc_array((size_t)(2 * SAMPLES * k->count * d), sizeof *x);
    MFFA_AUTO(mffa_free_p) float *got = mffa_alloc_array((size_t)(2 * SAMPLES * k->count), sizeof *got);
    if (!deviation || !z || !x || !got) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld covariances", (long long)k->count);
    mffa_parallel(k->sums->threads, k->count, covariances, k);
    for (int64_t i = 0; i < k->count * d; i++) deviation[i] = sqrt(k->w[i / d * d * d + i % d * (d + 1)]);
    mffa_code rc = mffa_linalg_cholesky(device, k->w, k->count, d, err);
    if (!rc) rc = mffa_linalg_tri_inverse(device, k->w, k->count, d, err);
    if (rc) return mffa_wrap(err, rc, "covariances of positions %lld to %lld", (long long)k->from, (long long)(k->from + k->count - 1));
    for (int64_t i = 0; i < k->count * d; i++) k->g->mean[k->from * d + i] = (float)k->sums->mean[k->from * d + i];
    pack(k);
    return measure(k, random, deviation, x, got, z, err);
}

static mffa_code finish_all(mffa_gaussian_sums *s, const float *scatter, const mffa_device *device, double lambda, mffa_rng random,
                            const mffa_progress *progress, mffa_gaussian *g, mffa_err *err) {
    int64_t d = s->channels, at_once = work_bytes / (d * d * (int64_t)sizeof(double));
    if (at_once < 1) at_once = 1;
    if (at_once > s->positions) at_once = s->positions;
    MFFA_AUTO(mffa_free_p) double *w = mffa_alloc_array((size_t)(at_once * d * d), sizeof *w);
    if (!w) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld covariances", (long long)at_once);
    mffa_code rc = MFFA_OK;
    for (int64_t from = 0; !rc && from < s->positions; from += at_once) {
        rc = mffa_tick(progress, "gaussian", from, s->positions, err);
        chunk k = {.sums = s, .scatter = scatter, .g = g, .w = w, .from = from, .lambda = lambda};
        k.count = s->positions - from < at_once ? s->positions - from : at_once;
        if (!rc) rc = finish_chunk(&k, device, &random, err);
    }
    return rc ? rc : mffa_tick(progress, "gaussian", s->positions, s->positions, err);
}

mffa_code mffa_gaussian_finish(mffa_gaussian_sums **sums, const mffa_device *device, double lambda, bool keep_scatter, mffa_rng random,
                               const mffa_progress *progress, mffa_gaussian *out, mffa_err *err) {
    MFFA_AUTO(mffa_gaussian_sums_close_p) mffa_gaussian_sums *s = MFFA_TAKE(*sums);
    MFFA_AUTO(mffa_gaussian_done) mffa_gaussian g = {.positions = s->positions, .channels = s->channels, .images = s->images};
    size_t vectors = (size_t)(s->positions * s->channels), packed = (size_t)(s->positions * mffa_packed(s->channels));
    if (s->images < 2)
        return mffa_fail(err, MFFA_EINVAL, "%lld training picture: a covariance needs at least 2", (long long)s->images);
    g.scatter = MFFA_TAKE(s->scatter);
    g.mean = mffa_alloc_array(vectors, sizeof *g.mean);
    g.scale = mffa_alloc_array(vectors, sizeof *g.scale);
    g.factor = keep_scatter ? mffa_alloc_array(packed, sizeof *g.factor) : (void *)g.scatter;
    const float *scatter = g.scatter;
    if (!keep_scatter) g.scatter = NULL;
    if (!g.mean || !g.scale || !g.factor)
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for a Gaussian of %lld positions", (long long)s->positions);
    mffa_code rc = finish_all(s, scatter, device, lambda, random, progress, &g, err);
    void *half = rc || keep_scatter ? NULL : realloc(g.factor, packed * sizeof *g.factor);
    if (half) g.factor = half;
    if (rc) return rc;
    *out = g;
    g = (mffa_gaussian){0};
    return MFFA_OK;
}

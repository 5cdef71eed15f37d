/* mffa_model_fit: see model.h. Two passes over the pictures: the first takes every patch's projection and the Gaussian's sums, the
 * second computes the embeddings of the chosen patches again, so that full-width patches never pile up. */
#include <math.h>
#include <string.h>
#include "core/mffa/coreset_device.h"
#include "core/mffa/gaussian_growing.h"
#include "core/mffa/gaussian_parts.h"
#include "core/mffa/kernels.h"
#include "core/mffa/model_parts.h"

enum { W = MFFA_CORESET_WIDTH };
static const int64_t most_patches = INT64_C(1) << 32; /* what the first one is drawn from */

typedef struct fit {
    mffa_network *net;
    const mffa_source *train;
    const mffa_progress *progress;
    mffa_model *m;
    int64_t batch, patches;         /* patches of a picture */
    float *images;                  /* [batch, 3, S, S] */
    float *embedding;               /* [batch * patches, C2 + C3] */
    float *features;                /* [batch, P, d]; NULL when the sums grow on the device */
    float *rows;                    /* [pictures * patches, 128] projected; given back once the coreset is chosen */
    int64_t *picture, pictures;     /* [count] index in the source of those that were not left out */
    mffa_gaussian_sums *sums;       /* on the host, */
    mffa_gaussian_growing *growing; /* or growing on the device */
    int64_t *chosen;                /* [bank rows] */
} fit;

static void fit_done(fit *f) {
    free(f->images);
    free(f->embedding);
    free(f->features);
    free(f->rows);
    free(f->picture);
    free(f->chosen);
    mffa_gaussian_sums_close(f->sums);
    mffa_gaussian_growing_close(f->growing);
}

static mffa_code check(const mffa_network *net, const mffa_model *m, const mffa_source *train, mffa_err *err) {
    const mffa_network_info *info = mffa_network_describe(net);
    mffa_code rc = mffa_profile_check(&m->profile, err);
    if (!rc) rc = mffa_model_check_widths(m, err);
    if (rc) return rc;
    if (info->blocks != m->profile.blocks)
        return mffa_fail(err, MFFA_EINVAL, "the network was opened with %d transformer blocks, the profile says %d", info->blocks,
                         m->profile.blocks);
    int64_t patches = (int64_t)(m->profile.side / 8) * (m->profile.side / 8);
    if (train->count < 2) return mffa_fail(err, MFFA_EINVAL, "%lld training pictures: at least 2 are needed", (long long)train->count);
    if (train->count > most_patches / patches)
        return mffa_fail(err, MFFA_EINVAL, "%lld training pictures: at most %lld at side %d", (long long)train->count,
                         (long long)(most_patches / patches), m->profile.side);
    return MFFA_OK;
}

static mffa_code draw_channels(mffa_model *m, mffa_err *err) {
    mffa_rng r;
    m->layer3_channels = mffa_alloc_array((size_t)m->width, sizeof *m->layer3_channels);
    m->gaussian_channels = mffa_alloc_array((size_t)m->profile.gaussian_channels, sizeof *m->gaussian_channels);
    m->projection = mffa_alloc_array((size_t)(m->c2 + m->c3), W * sizeof *m->projection);
    if (!m->layer3_channels || !m->gaussian_channels || !m->projection) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_rng_init(&r, m->profile.seed, MFFA_STREAM_LAYER3);
    mffa_code rc = mffa_rng_choose(&r, m->c3, m->width, m->layer3_channels, err);
    mffa_rng_init(&r, m->profile.seed, MFFA_STREAM_GAUSSIAN);
    if (!rc) rc = mffa_rng_choose(&r, m->width, m->profile.gaussian_channels, m->gaussian_channels, err);
    mffa_rng_init(&r, m->profile.seed, MFFA_STREAM_PROJECTION);
    for (int64_t i = 0; i < (int64_t)W * (m->c2 + m->c3); i++) m->projection[i] = (float)(mffa_rng_normal(&r) / sqrt(W));
    return rc;
}

static mffa_code fit_init(fit *f, mffa_err *err) {
    const mffa_model *m = f->m;
    int64_t side = m->profile.side, positions = (int64_t)m->profile.grid * m->profile.grid;
    f->batch = mffa_network_describe(f->net)->batch;
    f->patches = (side / 8) * (side / 8);
    f->images = mffa_alloc_array((size_t)f->batch, (size_t)(3 * side * side) * sizeof *f->images);
    f->embedding = mffa_alloc_array((size_t)(f->batch * f->patches), (size_t)(m->c2 + m->c3) * sizeof *f->embedding);
    bool grows = mffa_network_on_device(f->net);
    if (!grows) f->features = mffa_alloc_array((size_t)(f->batch * positions), (size_t)m->profile.gaussian_channels * sizeof *f->features);
    f->rows = mffa_alloc_array((size_t)(f->train->count * f->patches), W * sizeof *f->rows);
    f->picture = mffa_alloc_array((size_t)f->train->count, sizeof *f->picture);
    if (!f->images || !f->embedding || (!grows && !f->features) || !f->rows || !f->picture)
        return mffa_fail(err, MFFA_ENOMEM,
                         "out of memory for the patches of %lld pictures (%lld MiB): fewer pictures or a smaller side need less",
                         (long long)f->train->count, (long long)(f->train->count * f->patches * W * 4 >> 20));
    if (grows)
        return mffa_gaussian_growing_open(mffa_network_device(f->net), positions, m->profile.gaussian_channels, &f->growing, err);
    return mffa_gaussian_sums_open(positions, m->profile.gaussian_channels, mffa_device_threads(mffa_network_device(f->net)), &f->sums,
                                   err);
}

/* Backbone of n images from the batch's image `at` on; the embedding [n * patches, C2 + C3]. */
static mffa_stages backbone(fit *f, mffa_scope *s, int64_t at, int64_t n, mffa_tensor **embedding) {
    int64_t side = f->m->profile.side;
    mffa_stages stages = mffa_network_stages(s, f->net, f->images + at * 3 * side * side, n, (int)side);
    *embedding = mffa_reshape(s, mffa_bank_embed(s, &stages), 2, (int64_t[]){n * f->patches, f->m->c2 + f->m->c3});
    return stages;
}

/* The patches' projections, to the host. */
static void project(fit *f, mffa_scope *s, mffa_tensor *embedding, float *rows) {
    int64_t n = mffa_tensor_size(embedding, 0), width = f->m->c2 + f->m->c3;
    mffa_scope *in = mffa_scope_nest(s);
    mffa_tensor *projection = mffa_tensor_borrow(in, MFFA_F32, f->m->projection, 2, (int64_t[]){W, width});
    mffa_tensor *out = mffa_tensor_from(in, MFFA_F32, NULL, 2, (int64_t[]){n, W});
    mffa_gemm(in, out, embedding, projection, (mffa_gemm_how){.transpose_b = true, .alpha = 1});
    mffa_tensor_read(in, out, MFFA_F32, rows, n * W);
    mffa_scope_close(in);
}

/* The Gaussian's features of image i of stages, to the host. One image at a time: the transformer takes them so anyway, and it is the
 * longest step between two ticks. */
static void features_of(fit *f, mffa_scope *s, const mffa_stages *batch, int64_t i, float *out) {
    mffa_scope *in = mffa_scope_nest(s);
    mffa_lgffp l = mffa_model_lgffp(f->m, f->net);
    mffa_stages one = {0};
    for (int k = 0; k < 3; k++) one.stage[k] = mffa_narrow(in, batch->stage[k], 0, i, 1);
    mffa_tensor *positions = mffa_lgffp_forward(in, &l, &one);
    mffa_tensor_read(in, positions, MFFA_F32, out, mffa_tensor_count(positions));
    mffa_scope_close(in);
}

/* Images at..at + n - 1 of the batch: projections into rows, features into the sums on the device or into f->features. *again: nothing
 * has been added to sums, so the call may be repeated. */
static mffa_code forward(fit *f, int64_t at, int64_t n, bool *again, mffa_err *err) {
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(mffa_network_device(f->net), MFFA_INFER);
    mffa_tensor *embedding, *features = NULL;
    mffa_lgffp l = mffa_model_lgffp(f->m, f->net);
    int64_t size = (int64_t)f->m->profile.grid * f->m->profile.grid * f->m->profile.gaussian_channels;
    mffa_stages stages = backbone(f, s, at, n, &embedding);
    project(f, s, embedding, f->rows + (f->pictures + at) * f->patches * W);
    mffa_drop(embedding);
    if (f->growing) features = mffa_lgffp_forward(s, &l, &stages);
    for (int64_t i = 0; !f->growing && i < n && mffa_scope_ok(s); i++) {
        mffa_code rc = mffa_tick(f->progress, "features", f->picture[f->pictures + at + i], f->train->count, err);
        if (rc) return rc;
        features_of(f, s, &stages, i, f->features + (at + i) * size);
    }
    mffa_code rc = mffa_scope_check(s, err);
    *again = rc;
    return rc || !f->growing ? rc : mffa_gaussian_growing_add(f->growing, features, err);
}

/* The n images of the batch, as many at once as memory takes. */
static mffa_code forward_all(fit *f, int64_t n, mffa_err *err) {
    for (int64_t at = 0; at < n;) {
        mffa_err why = {0};
        bool again = false;
        int64_t batch = mffa_network_describe(f->net)->batch;
        if (batch > n - at) batch = n - at;
        mffa_code rc = forward(f, at, batch, &again, &why);
        if (rc == MFFA_ENOMEM && again && batch > 1) {
            mffa_network_shrink(f->net, (int)(batch / 2));
            continue;
        }
        if (rc) return err ? *err = why, rc : rc;
        at += batch;
    }
    return f->growing ? MFFA_OK : mffa_gaussian_sums_add(f->sums, f->features, n, err);
}

static mffa_code forward_backbone(fit *f, int64_t n, mffa_err *err) {
    for (int64_t at = 0; at < n;) {
        MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(mffa_network_device(f->net), MFFA_INFER);
        mffa_err why = {0};
        mffa_tensor *embedding;
        int64_t batch = mffa_network_describe(f->net)->batch;
        if (batch > n - at) batch = n - at;
        backbone(f, s, at, batch, &embedding);
        int64_t size = f->patches * (f->m->c2 + f->m->c3);
        mffa_tensor_read(s, embedding, MFFA_F32, f->embedding + at * size, batch * size);
        mffa_code rc = mffa_scope_check(s, &why);
        if (rc == MFFA_ENOMEM && batch > 1) {
            mffa_network_shrink(f->net, (int)(batch / 2));
            continue;
        }
        if (rc) return err ? *err = why, rc : rc;
        at += batch;
    }
    return MFFA_OK;
}

static mffa_code load(fit *f, int64_t picture, int64_t slot, mffa_err *err) {
    int64_t side = f->m->profile.side;
    return f->train->load(f->train->ctx, picture, (int)side, f->images + slot * 3 * side * side, err);
}

/* The next pictures from *next on, up to a batch; their indices go behind f->pictures. */
static mffa_code load_batch(fit *f, int64_t *next, int64_t *n, mffa_err *err) {
    for (*n = 0; *n < f->batch && *next < f->train->count; ++*next) {
        mffa_err skipped = {0};
        mffa_code rc = load(f, *next, *n, &skipped);
        if (rc == MFFA_ESKIP) continue;
        if (rc) return err ? *err = skipped, rc : rc;
        f->picture[f->pictures + (*n)++] = *next;
        rc = mffa_tick(f->progress, "features", f->pictures ? f->picture[f->pictures - 1] + 1 : 0, f->train->count, err);
        if (rc) return rc;
    }
    return MFFA_OK;
}

static mffa_code first_pass(fit *f, mffa_err *err) {
    for (int64_t next = 0, n; next < f->train->count; f->pictures += n) {
        mffa_code rc = load_batch(f, &next, &n, err);
        if (!rc && n) rc = forward_all(f, n, err);
        if (!rc) rc = mffa_tick(f->progress, "features", next, f->train->count, err);
        if (rc) return rc;
    }
    if (f->pictures < 2)
        return mffa_fail(err, MFFA_EINVAL, "%lld of %lld training pictures could be used: at least 2 are needed", (long long)f->pictures,
                         (long long)f->train->count);
    return MFFA_OK;
}

static mffa_code choose(fit *f, mffa_err *err) {
    mffa_model *m = f->m;
    int64_t n = f->pictures * f->patches, rows = mffa_coreset_count(n, m->profile.ratio);
    mffa_rng r;
    mffa_rng_init(&r, m->profile.seed, MFFA_STREAM_FIRST);
    mffa_code rc = mffa_bank_init(&m->bank, rows, m->c2 + m->c3, err);
    if (rc) return rc;
    f->chosen = mffa_alloc_array((size_t)rows, sizeof *f->chosen);
    if (!f->chosen) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld chosen patches", (long long)rows);
    rc = mffa_coreset_choose_on(mffa_network_device(f->net), f->rows, n, rows, (int64_t)mffa_rng_below(&r, (uint64_t)n), f->chosen,
                                f->progress, err);
    free(f->rows);
    f->rows = NULL;
    for (int64_t i = 0; !rc && i < rows; i++) {
        m->bank.origin[2 * i] = (int32_t)f->picture[f->chosen[i] / f->patches];
        m->bank.origin[2 * i + 1] = (int32_t)(f->chosen[i] % f->patches);
    }
    return rc;
}

typedef struct wanted { /* a row of the bank and where it comes from, to be sorted by picture */
    int64_t patch, row;
} wanted;

static int by_patch(const void *a, const void *b) {
    int64_t x = ((const wanted *)a)->patch, y = ((const wanted *)b)->patch;
    return (x > y) - (x < y);
}

/* Pictures that hold wanted patches, from `at` on, up to a batch; *end: the first patch behind them. */
static mffa_code fill_batch(fit *f, const wanted *list, int64_t at, int64_t *end, mffa_err *err) {
    int64_t width = f->m->bank.width, rows = f->m->bank.rows, slot = -1, last = -1, n = 0;
    for (*end = at; *end < rows; ++*end) {
        int64_t picture = list[*end].patch / f->patches;
        if (picture == last) continue;
        if (n == f->batch) break;
        last = picture;
        mffa_code rc = load(f, f->picture[picture], n++, err);
        if (rc == MFFA_ESKIP)
            return mffa_wrap(err, MFFA_EINVAL, "picture %lld was there in the first pass", (long long)f->picture[picture]);
        if (!rc) rc = mffa_tick(f->progress, "bank", at, rows, err);
        if (rc) return rc;
    }
    mffa_code rc = forward_backbone(f, n, err);
    last = -1;
    for (int64_t i = at; !rc && i < *end; i++) {
        slot += list[i].patch / f->patches != last;
        last = list[i].patch / f->patches;
        memcpy(f->m->bank.features + list[i].row * width, f->embedding + (slot * f->patches + list[i].patch % f->patches) * width,
               (size_t)width * sizeof(float));
    }
    return rc;
}

static mffa_code second_pass(fit *f, mffa_err *err) {
    int64_t rows = f->m->bank.rows;
    MFFA_AUTO(mffa_free_p) wanted *list = mffa_alloc_array((size_t)rows, sizeof *list);
    if (!list) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld chosen patches", (long long)rows);
    for (int64_t i = 0; i < rows; i++) list[i] = (wanted){.patch = f->chosen[i], .row = i};
    qsort(list, (size_t)rows, sizeof *list, by_patch);
    for (int64_t at = 0, end = 0; at < rows; at = end) {
        mffa_code rc = fill_batch(f, list, at, &end, err);
        if (!rc) rc = mffa_tick(f->progress, "bank", end, rows, err);
        if (rc) return rc;
    }
    mffa_bank_seal(&f->m->bank);
    return MFFA_OK;
}

mffa_code mffa_model_fit(mffa_network *net, const mffa_profile *profile, const mffa_provenance *from, const mffa_source *train,
                         const mffa_progress *progress, mffa_model **out, mffa_err *err) {
    MFFA_AUTO(mffa_model_close_p) mffa_model *m = mffa_model_new();
    if (!m) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    MFFA_AUTO(fit_done) fit f = {.net = net, .train = train, .progress = progress, .m = m};
    const mffa_network_info *info = mffa_network_describe(net);
    m->profile = *profile;
    m->from = *from;
    m->c1 = info->c1, m->c2 = info->c2, m->c3 = info->c3, m->width = info->width;
    mffa_rng r;
    mffa_rng_init(&r, profile->seed, MFFA_STREAM_MEASURE);
    mffa_code rc = check(net, m, train, err);
    if (!rc) rc = draw_channels(m, err);
    if (!rc) rc = fit_init(&f, err);
    if (!rc) rc = first_pass(&f, err);
    if (!rc) rc = choose(&f, err);
    if (!rc) rc = second_pass(&f, err);
    if (!rc && f.growing)
        rc = mffa_gaussian_growing_finish(f.growing, profile->lambda, profile->keep_statistics, r, progress, &m->gaussian, err);
    else if (!rc)
        rc = mffa_gaussian_finish(&f.sums, mffa_network_device(net), profile->lambda, profile->keep_statistics, r, progress, &m->gaussian,
                                  err);
    if (rc) return rc;
    m->train_images = f.pictures;
    *out = MFFA_TAKE(m);
    return MFFA_OK;
}

/* Of a GPU's memory. */
static int64_t on_device(const mffa_network *net, const mffa_profile *p, int64_t batch, int64_t patches) {
    int64_t positions = (int64_t)p->grid * p->grid, d = p->gaussian_channels, weights = mffa_network_weights_bytes(net);
    int64_t networks = mffa_network_bytes(net, batch, batch, p->side, p->grid);
    int64_t adding = weights + mffa_network_stages_bytes(net, batch, p->side) + mffa_gaussian_growing_add_bytes(batch, positions, d);
    int64_t choosing = weights + mffa_coreset_on_bytes(patches), finishing = weights + mffa_gaussian_growing_finish_bytes(positions, d);
    int64_t most = networks > adding ? networks : adding;
    if (choosing > most) most = choosing;
    if (finishing > most) most = finishing;
    return mffa_with_slack(mffa_workspace_bytes + mffa_gaussian_growing_bytes(positions, d) + most);
}

mffa_need mffa_model_fit_need(const mffa_network *net, const mffa_profile *profile, int64_t images) {
    const mffa_network_info *i = mffa_network_describe(net);
    int64_t side = profile->side, patches = (side / 8) * (side / 8), positions = (int64_t)profile->grid * profile->grid,
            d = profile->gaussian_channels;
    int64_t bank = mffa_coreset_count(images * patches, profile->ratio), width = i->c2 + i->c3;
    int64_t batch = i->batch < images ? i->batch : images, buffers = batch * 4 * (3 * side * side + patches * width);
    int64_t rows = images * patches * W * 4, choosing = images * patches * 9 + bank * W * 4;
    int64_t libraries = mffa_libraries_bytes(mffa_network_device(net));
    if (mffa_network_on_device(net)) {
        int64_t fitted = positions * (mffa_packed(d) * (profile->keep_statistics ? 6 : 2) + d * 16);
        int64_t most = rows + choosing > fitted ? rows + choosing : fitted;
        return (mffa_need){mffa_with_slack(libraries + buffers + bank * width * 4 + MFFA_GAUSSIAN_SAMPLES * positions * d * 4 + most),
                           on_device(net, profile, batch, images * patches)};
    }
    int64_t weights = mffa_network_weights_bytes(net), sums = mffa_gaussian_sums_bytes(positions, d);
    buffers += batch * 4 * positions * d;
    int64_t most = rows + sums + mffa_network_bytes(net, batch, 1, profile->side, profile->grid);
    int64_t middle = weights + rows + choosing + sums + bank * width * 4;
    int64_t last = weights + mffa_gaussian_finish_bytes(positions, d, profile->keep_statistics) + bank * width * 4;
    if (middle > most) most = middle;
    if (last > most) most = last;
    return (mffa_need){mffa_with_slack(libraries + buffers + most), 0};
}

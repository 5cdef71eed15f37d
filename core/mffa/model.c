#include "core/mffa/model.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include "core/mffa/amc.h"
#include "core/mffa/coreset.h"
#include "core/mffa/gaussian_device.h"
#include "core/mffa/kernels.h"
#include "core/mffa/model_parts.h"

mffa_model *mffa_model_new(void) {
    static atomic_uint_fast64_t made;
    mffa_model *m = calloc(1, sizeof *m);
    if (m) m->serial = atomic_fetch_add(&made, 1) + 1;
    return m;
}

void mffa_model_close(mffa_model *m) {
    if (!m) return;
    free(m->layer3_channels);
    free(m->gaussian_channels);
    free(m->projection);
    mffa_bank_done(&m->bank);
    mffa_gaussian_done(&m->gaussian);
    free(m);
}

const mffa_profile *mffa_model_profile(const mffa_model *m) { return &m->profile; }
const mffa_provenance *mffa_model_provenance(const mffa_model *m) { return &m->from; }
int64_t mffa_model_bank_rows(const mffa_model *m) { return m->bank.rows; }
int64_t mffa_model_train_images(const mffa_model *m) { return m->train_images; }

int64_t mffa_model_bytes(const mffa_model *m) {
    int64_t width = m->c2 + m->c3, bank = m->bank.rows * (4 * width + 2 * 4 + 4), channels = 8 * (m->width + m->gaussian.channels);
    int64_t gaussian =
        m->gaussian.positions * (2 * 4 * m->gaussian.channels + (m->gaussian.scatter ? 6 : 2) * mffa_packed(m->gaussian.channels));
    return bank + channels + 4 * MFFA_CORESET_WIDTH * width + gaussian;
}

mffa_lgffp mffa_model_lgffp(const mffa_model *m, const mffa_network *net) {
    return (mffa_lgffp){.grid = m->profile.grid,
                        .width = m->width,
                        .channels = m->profile.gaussian_channels,
                        .layer3_channels = m->layer3_channels,
                        .gaussian_channels = m->gaussian_channels,
                        .transformer = mffa_network_transformer(net)};
}

mffa_code mffa_model_check_widths(const mffa_model *m, mffa_err *err) {
    if (m->c1 < 1 || m->c2 < 1 || m->c3 < 1 || m->c1 > 1 << 14 || m->c2 > 1 << 14 || m->c3 > 1 << 14 || m->width != m->c1 + m->c2 ||
        m->c3 < m->width)
        return mffa_fail(err, MFFA_EINVAL, "widths %d, %d, %d and %d of the network are not possible", m->c1, m->c2, m->c3, m->width);
    if (m->profile.gaussian_channels > m->width)
        return mffa_fail(err, MFFA_EINVAL, "gaussian channels is %d: expected 1 to %d with these weights", m->profile.gaussian_channels,
                         m->width);
    return MFFA_OK;
}

static mffa_code check_network(const mffa_model *m, const mffa_network *net, mffa_err *err) {
    const mffa_network_info *i = mffa_network_describe(net);
    if (i->c1 != m->c1 || i->c2 != m->c2 || i->c3 != m->c3)
        return mffa_fail(err, MFFA_EINVAL, "the model was fitted with a backbone of %d, %d and %d channels, %s has %d, %d and %d", m->c1,
                         m->c2, m->c3, i->backbone, i->c1, i->c2, i->c3);
    if (i->blocks != m->profile.blocks)
        return mffa_fail(err, MFFA_EINVAL, "the model was fitted with %d transformer blocks, the network has %d", m->profile.blocks,
                         i->blocks);
    return MFFA_OK;
}

typedef struct buffers { /* of one batch, on the host; all but maps: NULL when the device keeps them */
    float *patches, *features, *nns, *gaussian, *maps;
} buffers;

static void buffers_done(buffers *b) {
    free(b->patches);
    free(b->features);
    free(b->nns);
    free(b->gaussian);
    free(b->maps);
}

static mffa_code buffers_init(const mffa_model *m, bool on_device, int64_t batch, buffers *b, mffa_err *err) {
    size_t n = (size_t)batch, side = (size_t)m->profile.side, patches = n * (side / 8) * (side / 8),
           positions = n * (size_t)m->gaussian.positions;
    *b = (buffers){.maps = mffa_alloc_array(2 * n, side * side * sizeof(float))};
    if (on_device && b->maps) return MFFA_OK;
    *b = (buffers){.maps = b->maps,
                   .patches = mffa_alloc_array(patches, (size_t)m->bank.width * sizeof(float)),
                   .features = mffa_alloc_array(positions, (size_t)m->gaussian.channels * sizeof(float)),
                   .nns = mffa_alloc_array(patches, sizeof(float)),
                   .gaussian = mffa_alloc_array(positions, sizeof(float))};
    if (b->patches && b->features && b->nns && b->gaussian && b->maps) return MFFA_OK;
    return mffa_fail(err, MFFA_ENOMEM, "out of memory for scoring %lld pictures at once: a smaller batch needs less", (long long)batch);
}

/* Both networks' output for n images, to the host. */
static mffa_code features(const mffa_model *m, const mffa_network *net, const float *images, int64_t n, buffers *b, mffa_err *err) {
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(mffa_network_device(net), MFFA_INFER);
    mffa_lgffp l = mffa_model_lgffp(m, net);
    mffa_stages stages = mffa_network_stages(s, net, images, n, m->profile.side);
    mffa_tensor *patches = mffa_bank_embed(s, &stages);
    mffa_tensor_read(s, patches, MFFA_F32, b->patches, mffa_tensor_count(patches));
    mffa_drop(patches);
    mffa_tensor *positions = mffa_lgffp_forward(s, &l, &stages);
    mffa_tensor_read(s, positions, MFFA_F32, b->features, mffa_tensor_count(positions));
    return mffa_scope_check(s, err);
}

static mffa_code fuse(const mffa_model *m, const mffa_device *d, mffa_maps which, int64_t n, buffers *b, float *maps, mffa_err *err) {
    int64_t side = m->profile.side, patches = side / 8, grid = m->profile.grid, pixels = n * side * side;
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    mffa_tensor *nns = mffa_tensor_borrow(s, MFFA_F32, b->nns, 4, (int64_t[]){n, 1, patches, patches});
    mffa_tensor *gaussian = mffa_tensor_borrow(s, MFFA_F32, b->gaussian, 4, (int64_t[]){n, 1, grid, grid});
    mffa_amc a = mffa_amc_fuse(s, nns, gaussian, side, m->profile.sigma, which);
    mffa_tensor_read(s, a.fused, MFFA_F32, maps, pixels);
    mffa_tensor_read(s, a.nns, MFFA_F32, b->maps, pixels);
    mffa_tensor_read(s, a.gaussian, MFFA_F32, b->maps + pixels, pixels);
    return mffa_scope_check(s, err);
}

static void most_and_mean(const float *map, int64_t n, float *most, float *mean) {
    double sum = 0;
    *most = map[0];
    for (int64_t i = 0; i < n; i++) {
        sum += (double)map[i];
        if (map[i] > *most) *most = map[i];
    }
    *mean = (float)(sum / (double)n);
}

static mffa_code judge(const float *map, const float *nns, const float *gaussian, int side, mffa_score *out, mffa_err *err) {
    int64_t pixels = (int64_t)side * side, peak = 0;
    for (int64_t i = 0; i < pixels; i++) {
        if (!isfinite(map[i]))
            return mffa_fail(err, MFFA_EINVAL, "the anomaly map holds %g: expected finite values (are the weights sane?)", (double)map[i]);
        if (map[i] > map[peak]) peak = i;
    }
    *out = (mffa_score){.score = map[peak], .peak_x = (int)(peak % side), .peak_y = (int)(peak / side)};
    most_and_mean(nns, pixels, &out->nns_max, &out->nns_mean);
    most_and_mean(gaussian, pixels, &out->gaussian_max, &out->gaussian_mean);
    return MFFA_OK;
}

/* The reference that the way over the device is measured with. */
static mffa_code maps_on_host(const mffa_model *m, const mffa_network *net, mffa_maps which, const float *images, int64_t n, buffers *b,
                              float *maps, mffa_err *err) {
    const mffa_device *d = mffa_network_device(net);
    int side = m->profile.side;
    mffa_code rc = features(m, net, images, n, b, err);
    if (!rc) rc = mffa_bank_nearest(&m->bank, d, b->patches, n * (side / 8) * (side / 8), b->nns, err);
    if (!rc) rc = mffa_gaussian_distance(&m->gaussian, b->features, n, mffa_device_threads(d), b->gaussian, err);
    return rc ? rc : fuse(m, d, which, n, b, maps, err);
}

static mffa_code score_batch(const mffa_model *m, mffa_network *net, mffa_maps which, const float *images, int64_t n, buffers *b,
                             float *maps, mffa_score *scores, mffa_err *err) {
    int side = m->profile.side;
    int64_t pixels = (int64_t)side * side;
    mffa_code rc = mffa_network_on_device(net)
                       ? mffa_model_maps_on_device(m, net, which, images, n, maps, b->maps, b->maps + n * pixels, err)
                       : maps_on_host(m, net, which, images, n, b, maps, err);
    for (int64_t i = 0; !rc && i < n; i++)
        rc = judge(maps + i * pixels, b->maps + i * pixels, b->maps + (n + i) * pixels, side, &scores[i], err);
    return rc;
}

mffa_code mffa_model_score(const mffa_model *m, mffa_network *net, mffa_maps which, const float *images, int64_t n, float *maps,
                           mffa_score *scores, mffa_err *err) {
    int64_t pixels = (int64_t)m->profile.side * m->profile.side;
    mffa_code rc = check_network(m, net, err);
    for (int64_t i = 0; !rc && i < n;) {
        MFFA_AUTO(buffers_done) buffers b = {0};
        mffa_err why = {0};
        int64_t batch = mffa_network_describe(net)->batch;
        if (batch > n - i) batch = n - i;
        rc = buffers_init(m, mffa_network_on_device(net), batch, &b, &why);
        if (!rc) rc = score_batch(m, net, which, images + i * 3 * pixels, batch, &b, maps + i * pixels, scores + i, &why);
        if (rc == MFFA_ENOMEM && batch > 1) { /* half as many may fit, now and for what follows */
            mffa_network_shrink(net, (int)(batch / 2));
            rc = MFFA_OK;
            continue;
        }
        if (rc && err) *err = why;
        i += batch;
    }
    return rc;
}

/* Of a GPU's memory: maps and what they are made of are small beside these. */
static int64_t on_device(const mffa_model *m, const mffa_network *net, int64_t batch) {
    int64_t side = m->profile.side, positions = m->gaussian.positions, d = m->gaussian.channels, weights = mffa_network_weights_bytes(net);
    int64_t held = mffa_bank_tensors_bytes(&m->bank) + mffa_gaussian_tensors_bytes(positions, d);
    int64_t stages = weights + mffa_network_stages_bytes(net, batch, (int)side);
    int64_t nearest =
        stages + batch * side * side / 64 * m->bank.width * 4 + mffa_bank_nearest_on_bytes(&m->bank, batch * side * side / 64);
    int64_t gaussian = stages + batch * positions * d * 4 + mffa_gaussian_distance_on_bytes(batch, positions, d);
    int64_t most = mffa_network_bytes(net, batch, batch, (int)side, m->profile.grid);
    if (nearest > most) most = nearest;
    if (gaussian > most) most = gaussian;
    return mffa_with_slack(mffa_workspace_bytes + held + most);
}

mffa_need mffa_model_score_need(const mffa_model *m, const mffa_network *net, int64_t batch) {
    const int64_t left_over = INT64_C(72) << 20; /* in the heap, of the fit before and of decoded pictures: measured */
    int64_t side = m->profile.side, pixels = side * side, patches = pixels / 64, positions = m->gaussian.positions;
    int64_t pictures = batch * pixels * (3 * 4 + 4 + 1); /* with their maps and masks */
    int64_t host = mffa_libraries_bytes(mffa_network_device(net)) + left_over + mffa_model_bytes(m) + pictures + batch * 4 * 2 * pixels;
    if (mffa_network_on_device(net)) return (mffa_need){mffa_with_slack(host), on_device(m, net, batch)};
    host += batch * 4 * (patches * (m->bank.width + 1) + positions * (m->gaussian.channels + 1));
    int64_t nearest = mffa_network_weights_bytes(net) + mffa_bank_nearest_bytes(&m->bank, batch * patches),
            networks = mffa_network_bytes(net, batch, batch, (int)side, m->profile.grid);
    return (mffa_need){mffa_with_slack(host + (networks > nearest ? networks : nearest)), 0};
}

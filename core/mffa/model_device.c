/* Scoring with everything on the device: the model is uploaded once and stays with the network; a batch of pictures goes up, maps come
 * back. */
#include "core/base/buf.h"
#include "core/mffa/gaussian_device.h"
#include "core/mffa/model_parts.h"

typedef struct uploaded {
    mffa_scope *scope; /* owns what follows */
    mffa_bank_tensors bank;
    mffa_gaussian_tensors gaussian;
} uploaded;

static void uploaded_close(void *ctx) {
    uploaded *u = ctx;
    mffa_scope_close(u->scope);
    free(u);
}

static mffa_code upload(const mffa_model *m, mffa_network *net, const uploaded **out, mffa_err *err) {
    const uploaded *there = mffa_network_attached(net, m->serial);
    if (there) return *out = there, MFFA_OK;
    mffa_network_attach(net, 0, NULL, NULL); /* another model's tensors go first: two at once may not fit */
    uploaded *u = calloc(1, sizeof *u);
    if (!u) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    u->scope = mffa_scope_open(mffa_network_device(net), MFFA_INFER);
    u->bank = mffa_bank_upload(u->scope, &m->bank);
    u->gaussian = mffa_gaussian_upload(u->scope, &m->gaussian);
    mffa_code rc = mffa_scope_check(u->scope, err);
    if (rc) return uploaded_close(u), mffa_wrap(err, rc, "the model does not go onto the device");
    mffa_network_attach(net, m->serial, u, uploaded_close);
    *out = u;
    return MFFA_OK;
}

static mffa_amc maps_of(mffa_scope *s, const mffa_model *m, const uploaded *u, const mffa_network *net, const float *images, int64_t n,
                        mffa_maps which) {
    int64_t side = m->profile.side, patches = side / 8, grid = m->profile.grid;
    mffa_lgffp l = mffa_model_lgffp(m, net);
    mffa_stages stages = mffa_network_stages(s, net, images, n, m->profile.side);
    mffa_tensor *rows = mffa_reshape(s, mffa_bank_embed(s, &stages), 2, (int64_t[]){n * patches * patches, m->bank.width});
    mffa_tensor *nns = mffa_bank_nearest_on(s, &u->bank, rows);
    mffa_drop(rows);
    mffa_tensor *gaussian = mffa_gaussian_distance_on(s, &u->gaussian, mffa_lgffp_forward(s, &l, &stages));
    return mffa_amc_fuse(s, mffa_reshape(s, nns, 4, (int64_t[]){n, 1, patches, patches}),
                         mffa_reshape(s, gaussian, 4, (int64_t[]){n, 1, grid, grid}), side, m->profile.sigma, which);
}

mffa_code mffa_model_maps_on_device(const mffa_model *m, mffa_network *net, mffa_maps which, const float *images, int64_t n, float *maps,
                                    float *nns, float *gaussian, mffa_err *err) {
    int64_t pixels = n * m->profile.side * m->profile.side;
    const uploaded *u = NULL;
    mffa_code rc = upload(m, net, &u, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(mffa_network_device(net), MFFA_INFER);
    mffa_amc a = maps_of(s, m, u, net, images, n, which);
    mffa_tensor_read(s, a.fused, MFFA_F32, maps, pixels);
    mffa_tensor_read(s, a.nns, MFFA_F32, nns, pixels);
    mffa_tensor_read(s, a.gaussian, MFFA_F32, gaussian, pixels);
    return mffa_scope_check(s, err);
}

#include "core/nn/resnet.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct conv_bn { /* a convolution and the BatchNorm behind it */
    mffa_tensor *weight;
    mffa_bn bn;
    int stride, pad;
} conv_bn;

typedef struct block {
    conv_bn conv[3]; /* Bottleneck: 3, BasicBlock: 2 */
    conv_bn shortcut;
    bool projected; /* has the shortcut convolution */
} block;

struct mffa_resnet {
    mffa_weights_info info;
    int stages;
    mffa_scope *scope; /* owns the weights */
    conv_bn stem;
    block *blocks[4];
    mffa_resnet_tensor *tensors;
    size_t count, cap;
};

/* ---- loading ---- */

typedef struct loader {
    mffa_resnet *r;
    const mffa_weights *w;
} loader;

static mffa_tensor *take(loader *l, const char *at, const char *name, bool trained, int rank, const int64_t *shape) {
    mffa_resnet *r = l->r;
    if (r->count == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 128;
        mffa_resnet_tensor *more = reallocarray(r->tensors, cap, sizeof *more);
        if (!more) mffa_scope_fail(r->scope, MFFA_ENOMEM, "out of memory for %zu tensors", cap);
        if (!more) return NULL;
        r->tensors = more;
        r->cap = cap;
    }
    mffa_resnet_tensor *t = &r->tensors[r->count++];
    snprintf(t->name, sizeof t->name, "%s%s", at, name);
    t->trained = trained;
    mffa_tensor *wide = mffa_weights_get(r->scope, l->w, t->name, rank, shape);
    t->value = wide;
    if (rank == 4 && mffa_scope_mode(r->scope) == MFFA_INFER) { /* a convolution's: in the type that it is multiplied in, once */
        t->value = mffa_lower(r->scope, wide);
        mffa_drop(wide);
    }
    return t->value;
}

/* conv: "conv1" or "downsample.0"; bn: "bn1" or "downsample.1". */
static conv_bn load_conv(loader *l, const char *at, const char *conv, const char *bn, int in, int out, int size, int stride) {
    char name[32];
    int64_t channels = out;
    conv_bn c = {.stride = stride, .pad = size / 2};
    snprintf(name, sizeof name, "%s.weight", conv);
    c.weight = take(l, at, name, true, 4, (int64_t[]){out, in, size, size});
    snprintf(name, sizeof name, "%s.weight", bn);
    c.bn.weight = take(l, at, name, true, 1, &channels);
    snprintf(name, sizeof name, "%s.bias", bn);
    c.bn.bias = take(l, at, name, true, 1, &channels);
    snprintf(name, sizeof name, "%s.running_mean", bn);
    c.bn.mean = take(l, at, name, false, 1, &channels);
    snprintf(name, sizeof name, "%s.running_var", bn);
    c.bn.var = take(l, at, name, false, 1, &channels);
    return c;
}

static block load_block(loader *l, const char *at, int in, int inner, int out, int stride, bool bottleneck) {
    block b = {.projected = stride != 1 || in != out};
    if (bottleneck) {
        b.conv[0] = load_conv(l, at, "conv1", "bn1", in, inner, 1, 1);
        b.conv[1] = load_conv(l, at, "conv2", "bn2", inner, inner, 3, stride);
        b.conv[2] = load_conv(l, at, "conv3", "bn3", inner, out, 1, 1);
    } else {
        b.conv[0] = load_conv(l, at, "conv1", "bn1", in, inner, 3, stride);
        b.conv[1] = load_conv(l, at, "conv2", "bn2", inner, out, 3, 1);
    }
    if (b.projected) b.shortcut = load_conv(l, at, "downsample.0", "downsample.1", in, out, 1, stride);
    return b;
}

static void load_all(loader *l) {
    mffa_resnet *r = l->r;
    const mffa_weights_info *info = &r->info;
    enum { STEM = 64 };
    r->stem = load_conv(l, "", "conv1", "bn1", 3, STEM, 7, 2);
    int in = STEM;
    for (int stage = 0; stage < r->stages && mffa_scope_ok(r->scope); stage++) {
        r->blocks[stage] = calloc((size_t)info->depth[stage], sizeof **r->blocks);
        if (!r->blocks[stage]) mffa_scope_fail(r->scope, MFFA_ENOMEM, "out of memory for %d blocks", info->depth[stage]);
        for (int i = 0; i < info->depth[stage] && mffa_scope_ok(r->scope); i++) {
            char at[32];
            snprintf(at, sizeof at, "layer%d.%d.", stage + 1, i);
            r->blocks[stage][i] = load_block(l, at, in, info->inner[stage], info->channels[stage], stage && !i ? 2 : 1, info->bottleneck);
            in = info->channels[stage];
        }
    }
}

mffa_code mffa_resnet_open(const mffa_device *d, const mffa_weights *w, mffa_mode mode, int stages, mffa_resnet **out, mffa_err *err) {
    mffa_code rc = mffa_weights_expect(w, MFFA_WEIGHTS_BACKBONE, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_resnet_close_p) mffa_resnet *r = calloc(1, sizeof *r);
    if (!r) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    r->info = *mffa_weights_describe(w);
    r->stages = stages && stages < r->info.stages ? stages : r->info.stages;
    r->scope = mffa_scope_open(d, mode);
    load_all(&(loader){.r = r, .w = w});
    rc = mffa_scope_check(r->scope, err);
    if (rc) return rc;
    *out = MFFA_TAKE(r);
    return MFFA_OK;
}

void mffa_resnet_close(mffa_resnet *r) {
    if (!r) return;
    mffa_scope_close(r->scope);
    for (int i = 0; i < 4; i++) free(r->blocks[i]);
    free(r->tensors);
    free(r);
}

const mffa_weights_info *mffa_resnet_describe(const mffa_resnet *r) { return &r->info; }
int mffa_resnet_stages(const mffa_resnet *r) { return r->stages; }
size_t mffa_resnet_count(const mffa_resnet *r) { return r->count; }
const mffa_resnet_tensor *mffa_resnet_at(const mffa_resnet *r, size_t i) { return &r->tensors[i]; }

int64_t mffa_resnet_bytes(const mffa_resnet *r) {
    int64_t floats = 0;
    for (size_t i = 0; i < r->count; i++) floats += mffa_tensor_count(r->tensors[i].value);
    return 4 * floats;
}

/* ---- forward ---- */

static mffa_tensor *convolve(mffa_scope *s, const conv_bn *c, mffa_tensor *x, bool training) {
    mffa_tensor *y = mffa_conv2d(s, x, c->weight, NULL, c->stride, c->pad), *z = mffa_batch_norm(s, y, c->bn, training);
    mffa_drop(y);
    return z;
}

static mffa_tensor *residual(mffa_scope *s, const block *b, mffa_tensor *x, bool training) {
    mffa_tensor *y = mffa_relu_in(s, convolve(s, &b->conv[0], x, training));
    y = convolve(s, &b->conv[1], y, training);
    if (b->conv[2].weight) y = convolve(s, &b->conv[2], mffa_relu_in(s, y), training);
    return mffa_relu_in(s, mffa_add_in(s, y, b->projected ? convolve(s, &b->shortcut, x, training) : x));
}

static mffa_tensor *run_stage(mffa_scope *s, const block *blocks, int n, mffa_tensor *x, bool training) {
    mffa_tensor *y = x;
    for (int i = 0; i < n; i++) {
        mffa_scope *in = mffa_scope_nest(s);
        mffa_tensor *z = mffa_scope_keep(s, residual(in, &blocks[i], y, training));
        mffa_scope_close(in);
        if (y != x) mffa_drop(y);
        y = z;
    }
    return y;
}

mffa_stages mffa_resnet_forward(mffa_scope *s, const mffa_resnet *r, mffa_tensor *x, bool training) {
    mffa_scope *in = mffa_scope_nest(s);
    mffa_tensor *y = mffa_relu_in(in, convolve(in, &r->stem, x, training));
    y = mffa_scope_keep(s, mffa_max_pool(in, y, 3, 2, 1));
    mffa_scope_close(in);
    mffa_tensor *pooled = y;
    mffa_stages out = {{NULL}};
    for (int i = 0; i < r->stages; i++) out.stage[i] = y = run_stage(s, r->blocks[i], r->info.depth[i], y, training);
    mffa_drop(pooled);
    if (!mffa_scope_ok(s)) out = (mffa_stages){{NULL}};
    return out;
}

#include "core/nn/cait.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Of one set of attention weights (heads x rows x tokens): 16 MiB stay near a CPU's caches, 256 MiB keep a GPU busy. */
enum { CHUNK_FLOATS = 1 << 22, CHUNK_FLOATS_GPU = 1 << 26 };

typedef struct linear {
    mffa_tensor *weight, *bias;
} linear;

typedef struct block {
    linear norm1, qkv, proj_l, proj_w, proj, norm2, fc1, fc2;
    mffa_tensor *gamma_1, *gamma_2;
} block;

struct mffa_cait {
    mffa_weights_info info;
    int blocks;
    mffa_scope *scope; /* owns the weights */
    block *block;
};

/* ---- loading ---- */

typedef struct loader {
    mffa_scope *s;
    const mffa_weights *w;
    char at[24]; /* "blocks.7." */
} loader;

static mffa_tensor *take(const loader *l, const char *name, const char *part, int rank, const int64_t *shape) {
    char full[80];
    snprintf(full, sizeof full, "%s%s%s", l->at, name, part);
    return mffa_weights_get(l->s, l->w, full, rank, shape);
}

static linear load_linear(const loader *l, const char *name, int64_t out, int64_t in, bool bias) {
    mffa_tensor *wide = take(l, name, ".weight", 2, (int64_t[]){out, in});
    linear n = {.weight = mffa_lower(l->s, wide)};
    mffa_drop(wide);
    if (bias) n.bias = take(l, name, ".bias", 1, &out);
    return n;
}

static linear load_norm(const loader *l, const char *name, int64_t width) {
    return (linear){take(l, name, ".weight", 1, &width), take(l, name, ".bias", 1, &width)};
}

static block load_block(const loader *l, const mffa_weights_info *info) {
    int64_t d = info->width;
    return (block){
        .norm1 = load_norm(l, "norm1", d),
        .qkv = load_linear(l, "attn.qkv", 3 * d, d, info->qkv_bias),
        .proj_l = load_linear(l, "attn.proj_l", info->heads, info->heads, true),
        .proj_w = load_linear(l, "attn.proj_w", info->heads, info->heads, true),
        .proj = load_linear(l, "attn.proj", d, d, true),
        .norm2 = load_norm(l, "norm2", d),
        .fc1 = load_linear(l, "mlp.fc1", info->hidden, d, true),
        .fc2 = load_linear(l, "mlp.fc2", d, info->hidden, true),
        .gamma_1 = take(l, "gamma_1", "", 1, &d),
        .gamma_2 = take(l, "gamma_2", "", 1, &d),
    };
}

mffa_code mffa_cait_open(const mffa_device *d, const mffa_weights *w, int blocks, mffa_cait **out, mffa_err *err) {
    mffa_code rc = mffa_weights_expect(w, MFFA_WEIGHTS_TRANSFORMER, err);
    if (rc) return rc;
    const mffa_weights_info *info = mffa_weights_describe(w);
    if (blocks < 1 || blocks > info->blocks)
        return mffa_fail(err, MFFA_EINVAL, "%d transformer blocks: the file has %d, give 1 to %d (0 leaves the transformer out)", blocks,
                         info->blocks, info->blocks);
    MFFA_AUTO(mffa_cait_close_p) mffa_cait *c = calloc(1, sizeof *c);
    if (c) c->block = calloc((size_t)blocks, sizeof *c->block);
    if (!c || !c->block) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    c->info = *info;
    c->blocks = blocks;
    c->scope = mffa_scope_open(d, MFFA_INFER);
    for (int i = 0; i < blocks && mffa_scope_ok(c->scope); i++) {
        loader l = {.s = c->scope, .w = w};
        snprintf(l.at, sizeof l.at, "blocks.%d.", i);
        c->block[i] = load_block(&l, info);
    }
    rc = mffa_scope_check(c->scope, err);
    if (rc) return rc;
    *out = MFFA_TAKE(c);
    return MFFA_OK;
}

void mffa_cait_close(mffa_cait *c) {
    if (!c) return;
    mffa_scope_close(c->scope);
    free(c->block);
    free(c);
}

const mffa_weights_info *mffa_cait_describe(const mffa_cait *c) { return &c->info; }
int mffa_cait_blocks(const mffa_cait *c) { return c->blocks; }

int64_t mffa_cait_bytes(const mffa_cait *c) {
    int64_t d = c->info.width, h = c->info.heads, m = c->info.hidden;
    int64_t attention = 3 * d * d + (c->info.qkv_bias ? 3 * d : 0) + 2 * (h * h + h) + d * d + d;
    int64_t norms_and_scales = 6 * d, mlp = 2 * m * d + m + d;
    return 4 * (attention + norms_and_scales + mlp) * c->blocks;
}

/* ---- forward ---- */

static int64_t chunk_floats(const mffa_cait *c) {
    return mffa_device_is_gpu(mffa_scope_device(c->scope)) ? CHUNK_FLOATS_GPU : CHUNK_FLOATS;
}

static int64_t chunk_rows(const mffa_cait *c, int64_t tokens) {
    int64_t rows = chunk_floats(c) / (c->info.heads * tokens);
    return rows < 1 ? 1 : rows > tokens ? tokens : rows;
}

/* How many images' attention weights fit a chunk whole. */
static int64_t group_images(const mffa_cait *c, int64_t tokens) {
    int64_t images = chunk_floats(c) / (c->info.heads * tokens * tokens);
    return images < 1 ? 1 : images;
}

int64_t mffa_cait_peak_bytes(const mffa_cait *c, int64_t images, int64_t tokens) {
    int64_t group = group_images(c, tokens), at_once = images < group ? images : group;
    int64_t weights = 2 * c->info.heads * chunk_rows(c, tokens) * tokens; /* before and after a step */
    int64_t attention = weights + 8 * tokens * c->info.width;             /* qkv twice, q, result */
    int64_t mlp = tokens * (2 * (int64_t)c->info.width + c->info.hidden);
    return 4 * at_once * (attention > mlp ? attention : mlp);
}

/* Mix the heads: y[g, :] = sum_h weight[g, h] x[h, :], on x [B, H, rows, T], which is used up. */
static mffa_tensor *talk(mffa_scope *s, const linear *heads, mffa_tensor *x) {
    int64_t n = mffa_tensor_size(x, 0), h = mffa_tensor_size(x, 1), rows = mffa_tensor_size(x, 2), t = mffa_tensor_size(x, 3);
    mffa_tensor *flat = mffa_reshape(s, x, 3, (int64_t[]){n, h, rows * t});
    mffa_tensor *mixed = mffa_matmul(s, heads->weight, flat);
    mffa_drop(flat);
    mffa_drop(x);
    mffa_tensor *y = mffa_reshape(s, mixed, 4, (int64_t[]){n, h, rows, t});
    mffa_drop(mixed);
    return y;
}

/* Attention of query rows start.. without proj_w's bias: q, k, v [B, H, T, D/H] -> [B, H, rows, D/H]. proj_l's bias is left out: it adds
 * the same to all that a softmax is taken over, which changes nothing. */
static mffa_tensor *attend(mffa_scope *s, const block *b, mffa_tensor *q, mffa_tensor *k, mffa_tensor *v, int64_t start, int64_t rows) {
    mffa_scope *in = mffa_scope_nest(s);
    mffa_tensor *a = talk(in, &b->proj_l, mffa_matmul_nt(in, mffa_narrow(in, q, 2, start, rows), k));
    mffa_tensor *p = mffa_softmax(in, a, -1);
    mffa_drop(a);
    mffa_tensor *y = mffa_scope_keep(s, mffa_matmul(in, talk(in, &b->proj_w, p), v));
    mffa_scope_close(in);
    return y;
}

/* proj_w's bias, one number g a head: (P + g) v = P v + g (sum of v), so that no pass over the weights is spent on it. y in place. */
static void add_bias(mffa_scope *s, const block *b, mffa_tensor *y, mffa_tensor *v) {
    int64_t n = mffa_tensor_size(v, 0), h = mffa_tensor_size(v, 1), width = mffa_tensor_size(v, 3);
    mffa_tensor *sum = mffa_reshape(s, mffa_sum(s, v, 2), 4, (int64_t[]){n, h, 1, width});
    mffa_add_in(s, y, mffa_mul(s, sum, mffa_reshape(s, b->proj_w.bias, 3, (int64_t[]){h, 1, 1})));
}

static mffa_tensor *attention(mffa_scope *s, const mffa_cait *c, const block *b, mffa_tensor *x /* [B, T, D] */) {
    int64_t n = mffa_tensor_size(x, 0), t = mffa_tensor_size(x, 1), d = c->info.width, h = c->info.heads,
            step = chunk_rows(c, t > 0 ? t : 1);
    mffa_tensor *normed = mffa_layer_norm(s, x, b->norm1.weight, b->norm1.bias, 1e-6);
    mffa_tensor *qkv = mffa_reshape(s, mffa_linear(s, normed, b->qkv.weight, b->qkv.bias), 5, (int64_t[]){n, t, 3, h, d / h});
    mffa_drop(normed);
    qkv = mffa_contiguous(s, mffa_permute(s, qkv, 5, (int[]){2, 0, 3, 1, 4})); /* [3, B, H, T, D/H] */
    mffa_tensor *q = mffa_affine(s, mffa_select(s, qkv, 0, 0), 1 / sqrt((double)(d / h)), 0);
    mffa_tensor *k = mffa_select(s, qkv, 0, 1), *v = mffa_select(s, qkv, 0, 2);
    mffa_tensor *y = mffa_tensor_from(s, MFFA_F32, NULL, 4, (int64_t[]){n, h, t, d / h});
    for (int64_t i = 0; i < t && mffa_scope_ok(s); i += step) {
        mffa_tensor *part = attend(s, b, q, k, v, i, t - i < step ? t - i : step);
        mffa_copy_into(s, y, 2, i, part);
        mffa_drop(part);
    }
    add_bias(s, b, y, v);
    mffa_tensor *rows = mffa_reshape(s, mffa_permute(s, y, 4, (int[]){0, 2, 1, 3}), 3, (int64_t[]){n, t, d});
    return mffa_linear(s, rows, b->proj.weight, b->proj.bias);
}

static mffa_tensor *mlp(mffa_scope *s, const block *b, mffa_tensor *x) {
    mffa_tensor *n = mffa_layer_norm(s, x, b->norm2.weight, b->norm2.bias, 1e-6);
    mffa_tensor *y = mffa_gelu_in(s, mffa_linear(s, n, b->fc1.weight, b->fc1.bias));
    mffa_drop(n);
    return mffa_linear(s, y, b->fc2.weight, b->fc2.bias);
}

/* x [B, T, D] in place. */
static void run_block(mffa_scope *s, const mffa_cait *c, const block *b, mffa_tensor *x) {
    mffa_scope *in = mffa_scope_nest(s);
    mffa_add_in(in, x, mffa_mul_in(in, attention(in, c, b, x), b->gamma_1));
    mffa_scope_close(in);
    in = mffa_scope_nest(s);
    mffa_add_in(in, x, mffa_mul_in(in, mlp(in, b, x), b->gamma_2));
    mffa_scope_close(in);
}

mffa_tensor *mffa_cait_forward(mffa_scope *s, const mffa_cait *c, mffa_tensor *x) {
    int64_t n = mffa_tensor_size(x, 0), t = mffa_tensor_size(x, 1), d = c->info.width;
    if (mffa_scope_ok(s) && (mffa_tensor_rank(x) != 3 || mffa_tensor_size(x, 2) != d || t < 1))
        mffa_scope_fail(s, MFFA_EINVAL, "tokens [%lld, %lld, %lld]: the transformer is %lld wide and wants at least one token",
                        (long long)n, (long long)t, (long long)mffa_tensor_size(x, 2), (long long)d);
    mffa_tensor *out = mffa_tensor_from(s, MFFA_F32, NULL, 3, (int64_t[]){n, t, d});
    mffa_copy_into(s, out, 0, 0, x);
    int64_t group = group_images(c, t > 0 ? t : 1);
    for (int64_t i = 0; i < n && mffa_scope_ok(s); i += group) {
        mffa_scope *in = mffa_scope_nest(s);
        mffa_tensor *images = mffa_narrow(in, out, 0, i, n - i < group ? n - i : group);
        for (int k = 0; k < c->blocks; k++) run_block(in, c, &c->block[k], images);
        mffa_scope_close(in);
    }
    return mffa_scope_ok(s) ? out : NULL;
}

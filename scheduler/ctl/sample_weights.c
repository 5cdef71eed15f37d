#include "scheduler/ctl/sample_weights.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include "core/base/rng.h"
#include "core/nn/safetensors.h"

enum { MAX_TENSORS = 256, NAME = 64, RESNET_STAGES = 3, CAIT_BLOCKS = 11 };

typedef struct plan_tensor {
    char name[NAME];
    int rank;
    int64_t shape[4], count;
    float mean, deviation; /* normally distributed; deviation 0: constant */
} plan_tensor;

typedef struct plan { /* what a file will hold, in order */
    plan_tensor tensors[MAX_TENSORS];
    int count;
} plan;

__attribute__((format(printf, 6, 7))) static void add(plan *p, int rank, const int64_t *shape, float mean, float deviation,
                                                      const char *name, ...) {
    plan_tensor *t = &p->tensors[p->count++];
    *t = (plan_tensor){.rank = rank, .count = 1, .mean = mean, .deviation = deviation};
    for (int i = 0; i < rank; i++) t->shape[i] = shape[i], t->count *= shape[i];
    va_list ap;
    va_start(ap, name);
    vsnprintf(t->name, sizeof t->name, name, ap);
    va_end(ap);
}

/* torchvision: He et al.'s normal initialisation, fan out. */
static void add_conv(plan *p, const char *at, const char *name, int64_t out, int64_t in, int64_t kernel) {
    add(p, 4, (int64_t[]){out, in, kernel, kernel}, 0, sqrtf(2 / (float)(out * kernel * kernel)), "%s%s.weight", at, name);
}

static void add_norm(plan *p, const char *at, const char *name, int64_t width) {
    add(p, 1, &width, 1, 0, "%s%s.weight", at, name);
    add(p, 1, &width, 0, 0, "%s%s.bias", at, name);
    add(p, 1, &width, 0, 0, "%s%s.running_mean", at, name);
    add(p, 1, &width, 1, 0, "%s%s.running_var", at, name);
}

typedef struct networks { /* of a profile */
    const char *profile, *resnet, *cait; /* resnet, cait: what the files say that they are */
    int depth[RESNET_STAGES], inner, expansion; /* inner: of layer1's blocks; expansion 1: BasicBlock */
    int64_t width, heads;
    float layer_scale; /* its start, by the number of blocks of the whole net */
} networks;

static const networks known[] = {
    {"small", "resnet18 up to layer3", "cait_xxs24, 11 blocks", {2, 2, 2}, 64, 1, 192, 4, 1e-5f},
    {"paper", "wide_resnet50_2 up to layer3", "cait_m36, 11 blocks", {3, 4, 6}, 128, 2, 768, 16, 1e-6f},
};

static void plan_block(plan *p, const networks *n, const char *at, int64_t in, int64_t inner, int64_t out, bool first) {
    add_conv(p, at, "conv1", inner, in, n->expansion > 1 ? 1 : 3);
    add_norm(p, at, "bn1", inner);
    add_conv(p, at, "conv2", inner, inner, 3);
    add_norm(p, at, "bn2", inner);
    if (n->expansion > 1) {
        add_conv(p, at, "conv3", out, inner, 1);
        add_norm(p, at, "bn3", out);
    }
    if (!first || in == out) return;
    add_conv(p, at, "downsample.0", out, in, 1);
    add_norm(p, at, "downsample.1", out);
}

static void plan_resnet(plan *p, const networks *n) {
    add_conv(p, "", "conv1", 64, 3, 7);
    add_norm(p, "", "bn1", 64);
    int64_t in = 64;
    for (int stage = 0; stage < RESNET_STAGES; stage++) {
        int64_t inner = (int64_t)n->inner << stage, out = inner * n->expansion;
        for (int block = 0; block < n->depth[stage]; block++, in = out) {
            char at[NAME / 2];
            snprintf(at, sizeof at, "layer%d.%d.", stage + 1, block);
            plan_block(p, n, at, in, inner, out, block == 0);
        }
    }
}

/* timm: weights normal with deviation .02 (its truncation at 2 is a hundred deviations away), biases zero. */
static void add_linear(plan *p, int block, const char *name, int64_t out, int64_t in) {
    add(p, 2, (int64_t[]){out, in}, 0, .02f, "blocks.%d.%s.weight", block, name);
    add(p, 1, &out, 0, 0, "blocks.%d.%s.bias", block, name);
}

static void plan_cait(plan *p, const networks *n) {
    const int64_t width = n->width;
    for (int b = 0; b < CAIT_BLOCKS; b++) {
        for (int i = 1; i <= 2; i++) {
            add(p, 1, &width, n->layer_scale, 0, "blocks.%d.gamma_%d", b, i);
            add(p, 1, &width, 1, 0, "blocks.%d.norm%d.weight", b, i);
            add(p, 1, &width, 0, 0, "blocks.%d.norm%d.bias", b, i);
        }
        add_linear(p, b, "attn.qkv", 3 * width, width);
        add_linear(p, b, "attn.proj", width, width);
        add_linear(p, b, "attn.proj_l", n->heads, n->heads);
        add_linear(p, b, "attn.proj_w", n->heads, n->heads);
        add_linear(p, b, "mlp.fc1", 4 * width, width);
        add_linear(p, b, "mlp.fc2", width, 4 * width);
    }
}

static mffa_code put_tensor(mffa_st_writer *w, const plan_tensor *t, uint64_t seed, uint64_t stream, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) float *v = mffa_alloc_array((size_t)t->count, sizeof *v);
    if (!v) return mffa_fail(err, MFFA_ENOMEM, "out of memory for tensor \"%s\"", t->name);
    mffa_rng r;
    mffa_rng_init(&r, seed, stream);
    for (int64_t i = 0; i < t->count; i++) v[i] = t->deviation > 0 ? (float)(t->mean + t->deviation * mffa_rng_normal(&r)) : t->mean;
    return mffa_st_writer_put(w, v, (size_t)t->count * sizeof *v, err);
}

static mffa_code write_plan(const plan *what, const char *path, const char *network, uint64_t seed, uint64_t stream, const mffa_progress *p,
                            int64_t done, int64_t total, mffa_err *err) {
    char text[24];
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    mffa_code rc = mffa_st_writer_open(path, &w, err);
    if (rc) return rc;
    snprintf(text, sizeof text, "%" PRIu64, seed);
    mffa_st_writer_meta(w, "network", network);
    mffa_st_writer_meta(w, "origin", "mffactl sample: initialised from a seed, not trained");
    mffa_st_writer_meta(w, "seed", text);
    for (int i = 0; i < what->count && !rc; i++)
        rc = mffa_st_writer_declare(w, what->tensors[i].name, MFFA_F32, what->tensors[i].rank, what->tensors[i].shape, err);
    for (int i = 0; i < what->count && !rc; i++) {
        rc = put_tensor(w, &what->tensors[i], seed, stream + (uint64_t)i, err);
        if (!rc) rc = mffa_tick(p, "weights", done + i + 1, total, err);
    }
    return rc ? rc : mffa_st_writer_finish(w, err);
}

static const networks *networks_of(const char *profile) {
    for (size_t i = 0; i < MFFA_COUNT(known); i++)
        if (strcmp(known[i].profile, profile) == 0) return &known[i];
    return NULL;
}

mffa_code mffa_sample_weights_check(const char *profile, mffa_err *err) {
    return networks_of(profile) ? MFFA_OK : mffa_fail(err, MFFA_EINVAL, "profile=\"%s\": expected small or paper", profile);
}

mffa_code mffa_sample_weights(const char *folder, const char *profile, uint64_t seed, const mffa_progress *p, mffa_err *err) {
    const uint64_t first_stream = UINT64_C(1) << 32;
    const networks *n = networks_of(profile);
    char path[PATH_MAX];
    mffa_code rc = mffa_sample_weights_check(profile, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_free_p) plan *resnet = calloc(1, sizeof *resnet);
    MFFA_AUTO(mffa_free_p) plan *cait = calloc(1, sizeof *cait);
    if (!resnet || !cait) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    plan_resnet(resnet, n);
    plan_cait(cait, n);
    int total = resnet->count + cait->count;
    snprintf(path, sizeof path, "%s/backbone.safetensors", folder);
    rc = write_plan(resnet, path, n->resnet, seed, first_stream, p, 0, total, err);
    if (rc) return rc;
    snprintf(path, sizeof path, "%s/transformer.safetensors", folder);
    return write_plan(cait, path, n->cait, seed, first_stream + (uint64_t)resnet->count, p, resnet->count, total, err);
}

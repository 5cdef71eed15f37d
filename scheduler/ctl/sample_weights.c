#include "scheduler/ctl/sample_weights.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include "core/base/rng.h"
#include "core/nn/safetensors.h"

enum { MAX_TENSORS = 200, NAME = 64, RESNET_STAGES = 3, RESNET_BLOCKS = 2, CAIT_BLOCKS = 11, CAIT_WIDTH = 192, CAIT_HEADS = 4 };

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

__attribute__((format(printf, 6, 7))) static void add(plan *p, int rank, const int64_t *shape, float mean, float deviation, const char *name, ...) {
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

static void plan_resnet18(plan *p) {
    add_conv(p, "", "conv1", 64, 3, 7);
    add_norm(p, "", "bn1", 64);
    for (int64_t stage = 1, in = 64, out = 64; stage <= RESNET_STAGES; stage++, out *= 2)
        for (int block = 0; block < RESNET_BLOCKS; block++, in = out) {
            char at[NAME / 2];
            snprintf(at, sizeof at, "layer%d.%d.", (int)stage, block);
            add_conv(p, at, "conv1", out, in, 3);
            add_norm(p, at, "bn1", out);
            add_conv(p, at, "conv2", out, out, 3);
            add_norm(p, at, "bn2", out);
            if (in == out) continue;
            add_conv(p, at, "downsample.0", out, in, 1);
            add_norm(p, at, "downsample.1", out);
        }
}

/* timm: weights normal with deviation .02 (its truncation at 2 is a hundred deviations away), biases zero. */
static void add_linear(plan *p, int block, const char *name, int64_t out, int64_t in) {
    add(p, 2, (int64_t[]){out, in}, 0, .02f, "blocks.%d.%s.weight", block, name);
    add(p, 1, &out, 0, 0, "blocks.%d.%s.bias", block, name);
}

static void plan_cait_xxs24(plan *p) {
    const int64_t width = CAIT_WIDTH;
    for (int b = 0; b < CAIT_BLOCKS; b++) {
        for (int i = 1; i <= 2; i++) {
            add(p, 1, &width, 1e-5f, 0, "blocks.%d.gamma_%d", b, i); /* LayerScale's start for a net of 24 blocks */
            add(p, 1, &width, 1, 0, "blocks.%d.norm%d.weight", b, i);
            add(p, 1, &width, 0, 0, "blocks.%d.norm%d.bias", b, i);
        }
        add_linear(p, b, "attn.qkv", 3 * width, width);
        add_linear(p, b, "attn.proj", width, width);
        add_linear(p, b, "attn.proj_l", CAIT_HEADS, CAIT_HEADS);
        add_linear(p, b, "attn.proj_w", CAIT_HEADS, CAIT_HEADS);
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

static mffa_code write_plan(const plan *what, const char *path, const char *network, uint64_t seed, uint64_t stream, const mffa_progress *p, int64_t done,
                            int64_t total, mffa_err *err) {
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

mffa_code mffa_sample_weights(const char *folder, uint64_t seed, const mffa_progress *p, mffa_err *err) {
    const uint64_t first_stream = UINT64_C(1) << 32;
    char path[PATH_MAX];
    MFFA_AUTO(mffa_free_p) plan *resnet = calloc(1, sizeof *resnet);
    MFFA_AUTO(mffa_free_p) plan *cait = calloc(1, sizeof *cait);
    if (!resnet || !cait) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    plan_resnet18(resnet);
    plan_cait_xxs24(cait);
    int total = resnet->count + cait->count;
    snprintf(path, sizeof path, "%s/backbone.safetensors", folder);
    mffa_code rc = write_plan(resnet, path, "resnet18 up to layer3", seed, first_stream, p, 0, total, err);
    if (rc) return rc;
    snprintf(path, sizeof path, "%s/transformer.safetensors", folder);
    return write_plan(cait, path, "cait_xxs24, 11 blocks", seed, first_stream + (uint64_t)resnet->count, p, resnet->count, total, err);
}

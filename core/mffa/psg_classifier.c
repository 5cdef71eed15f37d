#include "core/mffa/psg_classifier.h"

#include <math.h>
#include <string.h>
#include "core/base/rng.h"
#include "core/mffa/psg.h"

void mffa_classifier_done(mffa_classifier *c) {
    mffa_sgd_close(c->optimiser);
    mffa_scope_close(c->scope);
    mffa_resnet_close(c->backbone);
    mffa_device_close(c->device);
    free(c->tensors);
    *c = (mffa_classifier){0};
}

/* ---- opening ---- */

static int64_t last_width(const mffa_classifier *c) {
    return mffa_resnet_describe(c->backbone)->channels[mffa_resnet_stages(c->backbone) - 1];
}

static mffa_tensor *draw(mffa_scope *s, mffa_rng *r, double bound, int rank, const int64_t *shape) {
    int64_t count = shape[0] * (rank == 2 ? shape[1] : 1);
    MFFA_AUTO(mffa_free_p) float *values = mffa_alloc_array((size_t)count, sizeof *values);
    if (!values) mffa_scope_fail(s, MFFA_ENOMEM, "out of memory for %lld weights", (long long)count);
    for (int64_t i = 0; values && i < count; i++) values[i] = (float)mffa_rng_uniform(r, -bound, bound);
    return mffa_tensor_from(s, MFFA_F32, values, rank, shape);
}

static void draw_head(mffa_classifier *c, uint64_t seed) {
    int64_t shape[2] = {MFFA_PSG_CLASSES, last_width(c)};
    double bound = 1 / sqrt((double)shape[1]);
    mffa_rng r;
    mffa_rng_init(&r, seed, MFFA_STREAM_HEAD);
    c->head_weight = draw(c->scope, &r, bound, 2, shape);
    c->head_bias = draw(c->scope, &r, bound, 1, shape);
}

static void load_head(mffa_classifier *c, const mffa_weights *w) {
    int64_t shape[2] = {MFFA_PSG_CLASSES, last_width(c)};
    c->head_weight = mffa_weights_get(c->scope, w, "head.weight", 2, shape);
    c->head_bias = mffa_weights_get(c->scope, w, "head.bias", 1, shape);
}

static mffa_code open_networks(mffa_classifier *c, const mffa_weights *w, const mffa_network_options *options, mffa_err *err) {
    mffa_code rc = mffa_device_open(options->device, options->precision, options->threads, &c->device, err);
    if (!rc) rc = mffa_resnet_open(c->device, w, MFFA_GRAD, 0, &c->backbone, err);
    if (rc) return rc;
    c->scope = mffa_scope_open(c->device, MFFA_GRAD);
    c->tensors = mffa_alloc_array(mffa_resnet_count(c->backbone) + MFFA_COUNT(c->head), sizeof *c->tensors);
    return c->tensors ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

/* With the head there: lists the tensors and makes the trained ones parameters of the optimiser. */
static mffa_code open_optimiser(mffa_classifier *c, mffa_sgd_rates rates, mffa_err *err) {
    size_t n = mffa_resnet_count(c->backbone), parameters = 0;
    c->head[0] = (mffa_resnet_tensor){"head.weight", c->head_weight, true};
    c->head[1] = (mffa_resnet_tensor){"head.bias", c->head_bias, true};
    c->count = n + MFFA_COUNT(c->head);
    MFFA_AUTO(mffa_free_p) mffa_tensor **trained = mffa_alloc_array(c->count, sizeof *trained);
    if (!trained) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (size_t i = 0; i < c->count; i++) {
        c->tensors[i] = i < n ? mffa_resnet_at(c->backbone, i) : &c->head[i - n];
        if (c->tensors[i]->trained) trained[parameters++] = mffa_require_grad(c->scope, c->tensors[i]->value);
    }
    c->optimiser = mffa_sgd_open(c->scope, trained, (int)parameters, rates);
    return mffa_scope_check(c->scope, err);
}

mffa_code mffa_classifier_open(const char *path, const mffa_network_options *options, mffa_sgd_rates rates, uint64_t seed,
                               mffa_classifier *out, mffa_err *err) {
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *w = NULL;
    mffa_code rc = mffa_weights_open(path, &w, err);
    if (!rc) rc = open_networks(out, w, options, err);
    if (rc) return rc;
    draw_head(out, seed);
    return open_optimiser(out, rates, err);
}

static mffa_code load_momentum(mffa_classifier *c, const mffa_weights *w, mffa_err *err) {
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(c->device, MFFA_GRAD);
    int parameter = 0;
    for (size_t i = 0; i < c->count; i++) {
        const mffa_resnet_tensor *t = c->tensors[i];
        if (!t->trained) continue;
        char name[64];
        int64_t shape[MFFA_MAX_RANK];
        snprintf(name, sizeof name, "momentum.%s", t->name);
        for (int axis = 0; axis < mffa_tensor_rank(t->value); axis++) shape[axis] = mffa_tensor_size(t->value, axis);
        mffa_tensor *v = mffa_weights_get(s, w, name, mffa_tensor_rank(t->value), shape);
        mffa_sgd_set_momentum(s, c->optimiser, parameter++, v);
        mffa_drop(v);
    }
    return mffa_scope_check(s, err);
}

mffa_code mffa_classifier_resume(const char *path, const mffa_network_options *options, mffa_sgd_rates rates, mffa_classifier *out,
                                 mffa_err *err) {
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *w = NULL;
    mffa_code rc = mffa_weights_open(path, &w, err);
    if (!rc) rc = open_networks(out, w, options, err);
    if (rc) return rc;
    load_head(out, w);
    rc = open_optimiser(out, rates, err);
    return rc ? rc : load_momentum(out, w, err);
}

/* ---- training ---- */

static mffa_tensor *forward(mffa_scope *s, const mffa_classifier *c, const float *images, int64_t n, int side) {
    mffa_stages stages = mffa_resnet_forward(s, c->backbone, mffa_network_input(s, images, n, side), true);
    mffa_tensor *pooled = mffa_adaptive_avg_pool(s, stages.stage[mffa_resnet_stages(c->backbone) - 1], 1, 1);
    return mffa_linear(s, mffa_reshape(s, pooled, 2, (int64_t[]){n, last_width(c)}), c->head_weight, c->head_bias);
}

mffa_code mffa_classifier_step(mffa_classifier *c, const float *images, const int64_t *labels, int64_t n, int side, double *loss,
                               int64_t *right, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) int64_t *told = mffa_alloc_array((size_t)n, sizeof *told);
    if (!told) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(c->device, MFFA_GRAD);
    mffa_tensor *logits = forward(s, c, images, n, side),
                *entropy = mffa_cross_entropy(s, logits, mffa_tensor_from(s, MFFA_I64, labels, 1, &n));
    double mean = 0;
    mffa_backward(s, entropy);
    mffa_sgd_step(s, c->optimiser);
    mffa_tensor_read(s, entropy, MFFA_F64, &mean, 1);
    mffa_tensor_read(s, mffa_argmax(s, logits, 1), MFFA_I64, told, n);
    mffa_code rc = mffa_scope_check(s, err);
    if (rc) return rc;
    *loss = mean;
    *right = 0;
    for (int64_t i = 0; i < n; i++) *right += told[i] == labels[i];
    return MFFA_OK;
}

mffa_tensor *mffa_classifier_momentum(mffa_scope *s, mffa_classifier *c, size_t i) {
    int parameter = 0;
    for (size_t k = 0; k < i; k++) parameter += c->tensors[k]->trained;
    return c->tensors[i]->trained ? mffa_sgd_momentum(s, c->optimiser, parameter) : NULL;
}

/* ---- the tuned backbone ---- */

/* By its name in the file of that prefix; NULL: not one of the backbone's. */
static const mffa_tensor *tuned(const mffa_classifier *c, const char *prefix, const char *name) {
    for (size_t i = 0; i < mffa_resnet_count(c->backbone); i++)
        if (!strncmp(name, prefix, strlen(prefix)) && !strcmp(name + strlen(prefix), c->tensors[i]->name)) return c->tensors[i]->value;
    return NULL;
}

typedef struct saved { /* a tensor of the file that is written */
    const mffa_st_tensor *was;
    const mffa_tensor *now; /* NULL: as it was */
    mffa_dtype dtype;
} saved;

static mffa_code put(mffa_st_writer *w, mffa_scope *s, const saved *t, mffa_err *err) {
    if (!t->now) return mffa_st_writer_put(w, t->was->data, t->was->bytes, err);
    MFFA_AUTO(mffa_free_p) float *values = mffa_alloc_array((size_t)t->was->count, sizeof *values);
    if (!values) return mffa_fail(err, MFFA_ENOMEM, "out of memory for tensor \"%s\"", t->was->name);
    mffa_tensor_read(s, t->now, MFFA_F32, values, t->was->count);
    mffa_code rc = mffa_scope_check(s, err);
    return rc ? rc : mffa_st_writer_put(w, values, (size_t)t->was->count * sizeof *values, err);
}

/* A file wants its wider types first; within a type the order of the file before. */
static size_t arrange(const mffa_classifier *c, const mffa_weights *like, saved *list) {
    const mffa_safetensors *f = mffa_weights_file(like);
    size_t n = 0;
    for (size_t bytes = 8; bytes; bytes /= 2)
        for (size_t i = 0; i < mffa_safetensors_count(f); i++) {
            const mffa_st_tensor *was = mffa_safetensors_at(f, i);
            const mffa_tensor *now = tuned(c, mffa_weights_describe(like)->prefix, was->name);
            saved t = {was, now, now ? MFFA_F32 : was->dtype};
            if (mffa_dtype_bytes(t.dtype) == bytes) list[n++] = t;
        }
    return n;
}

static mffa_code write_backbone(const mffa_classifier *c, const mffa_weights *like, mffa_st_writer *w, mffa_err *err) {
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(c->device, MFFA_GRAD);
    MFFA_AUTO(mffa_free_p) saved *list = mffa_alloc_array(mffa_safetensors_count(mffa_weights_file(like)), sizeof *list);
    if (!list) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    size_t n = arrange(c, like, list);
    mffa_code rc = MFFA_OK;
    for (size_t i = 0; !rc && i < n; i++)
        rc = mffa_st_writer_declare(w, list[i].was->name, list[i].dtype, list[i].was->rank, list[i].was->shape, err);
    for (size_t i = 0; !rc && i < n; i++) rc = put(w, s, &list[i], err);
    return rc ? rc : mffa_st_writer_finish(w, err);
}

mffa_code mffa_classifier_save_backbone(const mffa_classifier *c, const char *like, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *from = NULL;
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    mffa_code rc = mffa_weights_open(like, &from, err);
    if (!rc) rc = mffa_st_writer_open(path, &w, err);
    if (rc) return rc;
    rc = write_backbone(c, from, w, err);
    if (rc) unlink(path);
    return rc;
}

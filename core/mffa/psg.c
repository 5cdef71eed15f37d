#include "core/mffa/psg.h"

#include <math.h>
#include <string.h>
#include "core/mffa/cutpaste.h"
#include "core/mffa/psg_checkpoint.h"

void mffa_psg_defaults(mffa_psg_params *p) {
    *p = (mffa_psg_params){.side = 256, .epochs = 64, .batch = 32, .learning_rate = 3e-4, .momentum = .9, .weight_decay = 3e-5};
}

static mffa_code check(const mffa_psg_params *p, const mffa_source *train, mffa_err *err) {
    if (p->side < 64 || p->side > 1024 || p->side % 32)
        return mffa_fail(err, MFFA_EINVAL, "side is %d: expected a multiple of 32 from 64 to 1024", p->side);
    if (p->epochs < 1 || p->epochs > 10000) return mffa_fail(err, MFFA_EINVAL, "epochs is %d: expected 1 to 10000", p->epochs);
    if (p->batch < 1 || p->batch > 1024) return mffa_fail(err, MFFA_EINVAL, "batch is %d: expected 1 to 1024", p->batch);
    if (!(p->learning_rate > 0 && p->learning_rate < INFINITY))
        return mffa_fail(err, MFFA_EINVAL, "learning_rate is %g: expected more than 0", p->learning_rate);
    if (!(p->momentum > 0 && p->momentum < 1)) return mffa_fail(err, MFFA_EINVAL, "momentum is %g: expected between 0 and 1", p->momentum);
    if (!(p->weight_decay >= 0 && p->weight_decay < INFINITY))
        return mffa_fail(err, MFFA_EINVAL, "weight_decay is %g: expected 0 or more", p->weight_decay);
    if (train->count > UINT32_MAX) return mffa_fail(err, MFFA_EINVAL, "%lld pictures: at most %u", (long long)train->count, UINT32_MAX);
    return MFFA_OK;
}

typedef struct tuning {
    const mffa_psg_params *params;
    const mffa_source *train;
    const mffa_progress *progress;
    mffa_psg_owner owner;
    mffa_psg_state state;
    mffa_classifier net;
    int64_t *pictures, count; /* [count] index in the source of those that are not left out */
    int64_t *order;           /* [count] the same, as this epoch takes them */
    int64_t steps;            /* of an epoch */
    float *samples;           /* [3 * most pictures of a step, 3, S, S]: as they are, CutPaste, scar */
    int64_t *labels;          /* [3 * most pictures of a step] */
} tuning;

static void tuning_done(tuning *t) {
    mffa_classifier_done(&t->net);
    free(t->pictures);
    free(t->order);
    free(t->samples);
    free(t->labels);
}

static mffa_code tick(const tuning *t, int64_t step, mffa_err *err) {
    return mffa_tick(t->progress, "finetune", t->state.epoch * t->steps + step, t->params->epochs * t->steps, err);
}

/* ---- pictures ---- */

static size_t picture_floats(const tuning *t) { return (size_t)t->params->side * (size_t)t->params->side * 3; }

static mffa_code load(tuning *t, int64_t picture, float *out, mffa_err *err) {
    return t->train->load(t->train->ctx, picture, t->params->side, out, err);
}

/* Which pictures there are: the order of every epoch and the number of steps depend on it. */
static mffa_code find_pictures(tuning *t, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) float *image = mffa_alloc_array(picture_floats(t), sizeof *image);
    t->pictures = mffa_alloc_array((size_t)t->train->count, sizeof *t->pictures);
    t->order = mffa_alloc_array((size_t)t->train->count, sizeof *t->order);
    if (!image || !t->pictures || !t->order)
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld pictures", (long long)t->train->count);
    t->steps = (t->train->count + t->params->batch - 1) / t->params->batch; /* for the ticks until it is known */
    for (int64_t i = 0; i < t->train->count; i++) {
        mffa_err skipped = {0};
        mffa_code rc = tick(t, 0, err);
        if (rc) return rc;
        rc = load(t, i, image, &skipped);
        if (rc && rc != MFFA_ESKIP) return err ? *err = skipped, rc : rc;
        if (!rc) t->pictures[t->count++] = i;
    }
    if (!t->count)
        return mffa_fail(err, MFFA_EINVAL, "none of %lld training pictures could be used: 1 is needed", (long long)t->train->count);
    t->steps = (t->count + t->params->batch - 1) / t->params->batch;
    return MFFA_OK;
}

static mffa_code alloc_samples(tuning *t, mffa_err *err) {
    size_t samples = (size_t)((t->count + t->steps - 1) / t->steps) * MFFA_PSG_CLASSES;
    t->samples = mffa_alloc_array(samples, picture_floats(t) * sizeof *t->samples);
    t->labels = mffa_alloc_array(samples, sizeof *t->labels);
    if (!t->samples || !t->labels)
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for a batch of %zu samples: a smaller batch needs less", samples);
    return MFFA_OK;
}

static mffa_rng stream(const tuning *t, uint64_t kind, int64_t picture) {
    mffa_rng r;
    mffa_rng_init(&r, t->params->seed, kind | (uint64_t)t->state.epoch << 16 | (uint64_t)picture << 32);
    return r;
}

/* The three samples of a picture, at slot, slot + n and slot + 2n. */
static mffa_code make_samples(tuning *t, int64_t picture, int64_t slot, int64_t n, mffa_err *err) {
    int side = t->params->side;
    float *normal = t->samples + (size_t)slot * picture_floats(t), *pasted = normal + (size_t)n * picture_floats(t);
    float *scarred = pasted + (size_t)n * picture_floats(t);
    mffa_rng r = stream(t, MFFA_STREAM_CUTPASTE, picture);
    mffa_cutpaste patch = mffa_cutpaste_draw(&r, side);
    r = stream(t, MFFA_STREAM_SCAR, picture);
    mffa_cutpaste scar = mffa_scar_draw(&r, side);
    mffa_code rc = load(t, picture, normal, err);
    if (rc == MFFA_ESKIP) return mffa_wrap(err, MFFA_EINVAL, "picture %lld was there before", (long long)picture);
    if (!rc) rc = mffa_cutpaste_apply(&patch, normal, side, pasted, err);
    if (!rc) rc = mffa_cutpaste_apply(&scar, normal, side, scarred, err);
    for (int64_t class = 0; class < MFFA_PSG_CLASSES; class++) t->labels[class * n + slot] = class;
    return rc;
}

/* ---- training ---- */

typedef struct totals { /* over an epoch's samples */
    int64_t samples, right;
    double loss; /* sum */
} totals;

static mffa_code run_step(tuning *t, int64_t step, totals *sum, mffa_err *err) {
    int64_t first = step * t->count / t->steps, n = (step + 1) * t->count / t->steps - first, right = 0;
    double loss = 0;
    for (int64_t i = 0; i < n; i++) {
        mffa_code rc = tick(t, step, err);
        if (!rc) rc = make_samples(t, t->order[first + i], i, n, err);
        if (rc) return rc;
    }
    n *= MFFA_PSG_CLASSES;
    mffa_code rc = mffa_classifier_step(&t->net, t->samples, t->labels, n, t->params->side, &loss, &right, err);
    if (rc) return rc;
    if (!isfinite(loss))
        return mffa_fail(err, MFFA_EINVAL, "the loss is no number any more in epoch %d: learning_rate %g is too much for these weights",
                         t->state.epoch + 1, t->params->learning_rate);
    sum->samples += n, sum->right += right, sum->loss += loss * (double)n;
    return MFFA_OK;
}

static mffa_code run_epoch(tuning *t, const mffa_psg_hooks *hooks, mffa_err *err) {
    totals sum = {0};
    mffa_rng r = stream(t, MFFA_STREAM_ORDER, 0);
    memcpy(t->order, t->pictures, (size_t)t->count * sizeof *t->order);
    mffa_rng_shuffle(&r, t->order, (size_t)t->count);
    for (int64_t step = 0; step < t->steps; step++) {
        mffa_code rc = run_step(t, step, &sum, err);
        if (rc) return rc;
    }
    mffa_psg_state *s = &t->state;
    *s = (mffa_psg_state){s->epoch + 1, sum.loss / (double)sum.samples, (double)sum.right / (double)sum.samples};
    mffa_code rc = t->params->checkpoint ? mffa_psg_checkpoint_write(&t->owner, s, &t->net, err) : MFFA_OK;
    return rc || !hooks || !hooks->after_epoch ? rc : hooks->after_epoch(hooks->ctx, s->epoch, s->loss, s->accuracy, err);
}

static mffa_code open_net(tuning *t, const char *backbone, const mffa_network_options *options, mffa_err *err) {
    const mffa_psg_params *p = t->params;
    mffa_sgd_rates rates = {p->learning_rate, p->momentum, p->weight_decay};
    mffa_err none = {0};
    mffa_code rc = p->checkpoint ? mffa_psg_checkpoint_read(&t->owner, &t->state, &none) : MFFA_ENOTFOUND;
    if (rc == MFFA_ENOTFOUND) return mffa_classifier_open(backbone, options, rates, p->seed, &t->net, err);
    if (rc) return err ? *err = none, rc : rc;
    return mffa_classifier_resume(p->checkpoint, options, rates, &t->net, err);
}

mffa_code mffa_psg_finetune(const char *backbone, const mffa_network_options *options, const mffa_psg_params *params,
                            const mffa_source *train, const char *out_path, const mffa_psg_hooks *hooks, const mffa_progress *progress,
                            mffa_psg_result *result, mffa_err *err) {
    MFFA_AUTO(tuning_done) tuning t = {.params = params, .train = train, .progress = progress, .owner.params = params};
    mffa_code rc = check(params, train, err);
    if (!rc) rc = mffa_sha256_file(backbone, t.owner.backbone_sha256, err);
    if (!rc) rc = find_pictures(&t, err);
    t.owner.pictures = t.count;
    if (!rc) rc = alloc_samples(&t, err);
    if (!rc) rc = open_net(&t, backbone, options, err);
    int resumed = t.state.epoch;
    while (!rc && t.state.epoch < params->epochs) rc = run_epoch(&t, hooks, err);
    if (!rc) rc = tick(&t, 0, err);
    if (!rc) rc = mffa_classifier_save_backbone(&t.net, backbone, out_path, err);
    if (rc) return rc;
    *result =
        (mffa_psg_result){.steps = params->epochs * t.steps, .loss = t.state.loss, .accuracy = t.state.accuracy, .resumed_epoch = resumed};
    return MFFA_OK;
}

#include "worker/scoring.h"

#include "core/base/stats.h"
#include "core/image/resize.h"
#include "worker/pictures.h"

void mffa_scoring_done(mffa_scoring *s) {
    mffa_inputs_done(&s->inputs);
    mffa_fitted_done(&s->fitted);
    if (s->scores.side) mffa_map_spool_close(&s->spool);
    mffa_metrics_close(s->metrics);
    mffa_figures_done(&s->figures);
    mffa_scores_done(&s->scores);
    mffa_buf_done(&s->typical);
    *s = (mffa_scoring){0};
}

/* Pictures that pass the network together. */
typedef struct batch {
    int64_t room, count;
    float *images, *maps;      /* [room, 3, S, S], [room, S, S] */
    uint8_t *masks;            /* [room, S, S] */
    bool *has_mask;
    const mffa_sample **samples;
    mffa_score *scores;
} batch;

static void batch_done(batch *b) {
    free(b->images);
    free(b->maps);
    free(b->masks);
    free(b->has_mask);
    free(b->samples);
    free(b->scores);
}

static mffa_code batch_init(batch *b, int64_t room, int side, mffa_err *err) {
    size_t n = (size_t)room, plane = (size_t)side * (size_t)side;
    *b = (batch){.room = room,
                 .images = mffa_alloc_array(n, 3 * plane * sizeof(float)),
                 .maps = mffa_alloc_array(n, plane * sizeof(float)),
                 .masks = mffa_alloc_array(n, plane),
                 .has_mask = mffa_alloc_array(n, sizeof(bool)),
                 .samples = mffa_alloc_array(n, sizeof(mffa_sample *)),
                 .scores = mffa_alloc_array(n, sizeof(mffa_score))};
    if (b->images && b->maps && b->masks && b->has_mask && b->samples && b->scores) return MFFA_OK;
    return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld pictures of side %d: a smaller MFFA_BATCH needs less", (long long)room,
                     side);
}

static mffa_code add_picture(mffa_scoring *s, batch *b, const mffa_sample *sample, mffa_err *err) {
    size_t side = (size_t)s->scores.side, at = (size_t)b->count;
    MFFA_AUTO(mffa_image_done) mffa_image picture = {0};
    bool wants_mask = s->metrics && sample->mask_key;
    mffa_code rc = mffa_picture_read(s->job, sample->key, &picture, err);
    if (!rc && wants_mask) rc = mffa_picture_mask(s->job, sample, &picture, (int)side, b->masks + at * side * side, err);
    if (!rc) rc = mffa_resize_rgb(&picture, (int)side, b->images + at * 3 * side * side, err);
    if (rc) return rc == MFFA_ESKIP ? MFFA_OK : rc;
    b->has_mask[at] = wants_mask;
    b->samples[at] = sample;
    b->count++;
    return MFFA_OK;
}

static mffa_code note_scored(mffa_scoring *s, const batch *b, size_t i, mffa_err *err) {
    size_t plane = (size_t)s->scores.side * (size_t)s->scores.side;
    const mffa_sample *sample = b->samples[i];
    const float *map = b->maps + i * plane;
    float typical = 0;
    mffa_code rc = mffa_scores_add(&s->scores, sample->key, sample->type, sample->mask_key, sample->label, &b->scores[i], err);
    if (!rc) rc = mffa_heat_typical(map, s->scores.side, &typical, err);
    mffa_buf_put(&s->typical, &typical, sizeof typical);
    if (!rc) rc = mffa_buf_check(&s->typical, err);
    if (!rc && s->metrics)
        rc = mffa_metrics_add(s->metrics, sample->type, sample->label, (double)b->scores[i].score, map,
                              b->has_mask[i] ? b->masks + i * plane : NULL, err);
    return rc;
}

static mffa_code score_batch(mffa_scoring *s, batch *b, mffa_err *err) {
    if (b->count == 0) return MFFA_OK;
    mffa_code rc = mffa_model_score(s->fitted.model, s->fitted.network, s->maps_kind, b->images, b->count, b->maps, b->scores, err);
    if (!rc) rc = mffa_map_spool_add(&s->spool, b->maps, b->count, err);
    for (size_t i = 0; !rc && i < (size_t)b->count; i++) rc = note_scored(s, b, i, err);
    if (!rc) mffa_stat_add(MFFA_STAT_SCORED, s->job->kind, NULL, b->count);
    b->count = 0;
    return rc;
}

mffa_code mffa_scoring_run(mffa_scoring *s, mffa_err *err) {
    MFFA_AUTO(batch_done) batch b = {0};
    size_t n = mffa_dataset_count(s->inputs.set);
    mffa_code rc = batch_init(&b, s->batch, s->scores.side, err);
    if (!rc) rc = mffa_tick(&s->job->progress, "score", 0, (int64_t)n, err);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = add_picture(s, &b, mffa_dataset_at(s->inputs.set, i), err);
        if (!rc && (b.count == b.room || i + 1 == n)) rc = score_batch(s, &b, err);
        if (!rc) rc = mffa_tick(&s->job->progress, "score", (int64_t)i + 1 - b.count, (int64_t)n, err);
    }
    if (!rc && s->scores.count == 0)
        rc = mffa_fail(err, MFFA_EINVAL, "no picture of \"%s\" could be read: all %lld were left out", mffa_store_url(s->job->dataset),
                       (long long)s->job->skipped.count);
    if (!rc && s->metrics) rc = mffa_tick(&s->job->progress, "figures", 0, 1, err);
    if (!rc && s->metrics) rc = mffa_metrics_finish(s->metrics, &s->figures, err);
    return rc;
}

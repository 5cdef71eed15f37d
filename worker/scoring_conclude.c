/* From scores and maps to the documents of a run. */
#include "worker/scoring.h"

#include <string.h>
#include "core/nn/safetensors.h"
#include "worker/report.h"

static mffa_code write_maps(const mffa_scoring *s, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    int64_t shape[3] = {s->spool.count, s->spool.side, s->spool.side};
    size_t bytes = (size_t)s->spool.side * (size_t)s->spool.side * sizeof(float);
    MFFA_AUTO(mffa_free_p) float *map = malloc(bytes);
    if (!map) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_st_writer_open(path, &w, err);
    if (rc) return rc;
    mffa_st_writer_meta(w, "job", s->job->id);
    mffa_st_writer_meta(w, "order", "the pictures as in scores.msgpack");
    rc = mffa_st_writer_declare(w, "maps", MFFA_F32, 3, shape, err);
    for (int64_t i = 0; !rc && i < s->spool.count; i++) {
        rc = mffa_map_spool_read(&s->spool, i, map, err);
        if (!rc) rc = mffa_st_writer_put(w, map, bytes, err);
    }
    return rc ? rc : mffa_st_writer_finish(w, err);
}

static mffa_code put_maps(const mffa_scoring *s, mffa_err *err) {
    const char *save = "no";
    mffa_code rc = mffa_job_choice(s->job, "save_maps", "no|yes", "no", &save, err);
    if (rc || strcmp(save, "no") == 0) return rc;
    MFFA_AUTO(mffa_free_p) char *path = mffa_job_path(s->job, "maps.safetensors");
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    rc = write_maps(s, path, err);
    if (!rc) rc = mffa_results_put_file(s->job->results, "maps.safetensors", path, err);
    (void)unlink(path);
    return rc;
}

static double highest(const mffa_scores *s) {
    float most = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].score.score > most) most = s->items[i].score.score;
    return (double)most;
}

static mffa_code put_heatmaps(mffa_scoring *s, mffa_heatmaps *h, mffa_err *err) {
    const char *want = "yes";
    mffa_code rc = mffa_job_choice(s->job, "heatmaps", "yes|no|grey16|both", "yes", &want, err);
    if (rc) return rc;
    h->overlay = strcmp(want, "yes") == 0 || strcmp(want, "both") == 0;
    h->grey = strcmp(want, "grey16") == 0 || strcmp(want, "both") == 0;
    h->grey_max = highest(&s->scores);
    rc = mffa_heat_range_of(&s->scores, (const float *)(const void *)s->typical.ptr, &h->range, err);
    if (!rc) rc = mffa_heatmaps_name(h, &s->scores, err);
    return rc ? rc : mffa_heatmaps_draw(h, s->job, &s->scores, &s->spool, err);
}

static mffa_code put_documents(const mffa_scoring *s, const mffa_summary *summary, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf packed = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf report = {0};
    mffa_code rc = mffa_scores_pack(&s->scores, &packed, err);
    if (!rc) rc = mffa_results_put(s->job->results, "scores.msgpack", mffa_buf_span(&packed), err);
    if (!rc) rc = mffa_report_write(summary, &s->scores, &report, err);
    return rc ? rc : mffa_results_put(s->job->results, "report.html", mffa_buf_span(&report), err);
}

mffa_code mffa_scoring_conclude(mffa_scoring *s, mffa_err *err) {
    mffa_heatmaps h = {0};
    mffa_code rc = put_maps(s, err);
    if (!rc) rc = put_heatmaps(s, &h, err);
    if (!rc) rc = mffa_tick(&s->job->progress, "publish", 0, 1, err);
    if (rc) return rc;
    mffa_summary_scoring scoring = {.figures = s->metrics ? &s->figures : NULL,
                                    .threshold = &s->scores.threshold,
                                    .threshold_from = s->scores.threshold_from,
                                    .model_url = s->scores.model_url,
                                    .model_sha256 = s->scores.model_sha256,
                                    .maps = s->maps_name,
                                    .images = (int64_t)s->scores.count,
                                    .heat_low = h.range.low,
                                    .heat_high = h.range.high,
                                    .grey_max = h.grey_max};
    mffa_summary summary = mffa_job_summary(s->job);
    summary.dataset_sha256 = s->inputs.sha256;
    summary.ignored = (int64_t)mffa_dataset_ignored(s->inputs.set);
    summary.profile = mffa_model_profile(s->fitted.model);
    summary.from = mffa_model_provenance(s->fitted.model);
    summary.device = mffa_network_describe(s->fitted.network)->device;
    summary.scoring = &scoring;
    rc = put_documents(s, &summary, err);
    return rc ? rc : mffa_job_conclude(s->job, &summary, err);
}

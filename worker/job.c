#include "worker/job.h"

#include <string.h>
#include "core/base/clock.h"
#include "worker/memory.h"
#include "worker/pack.h"

static bool tick(void *ctx, const char *phase, int64_t done, int64_t total) {
    mffa_job *j = ctx;
    mffa_timings_enter(&j->timings, phase, mffa_now_ms());
    return j->outer->tick(j->outer->ctx, phase, done, total);
}

static mffa_code open_url(const mffa_job *j, const char *name, mffa_store **out, mffa_err *err) {
    const char *url = mffa_job_text(j, name, NULL);
    if (!url) return mffa_fail(err, MFFA_EINVAL, "%s is missing: give s3://bucket/prefix or file:///path", name);
    mffa_code rc = mffa_job_allows(j, name, url, err);
    return rc ? rc : mffa_store_open(url, out, err);
}

static void copy_text(char *out, size_t room, const mffa_json *message, const char *name) {
    snprintf(out, room, "%s", mffa_json_text(mffa_json_get(message, name), ""));
}

mffa_code mffa_job_init(mffa_job *j, mffa_engine *engine, const mffa_json *message, const char *folder, const mffa_progress *outer,
                        mffa_err *err) {
    *j = (mffa_job){.engine = engine, .config = mffa_engine_config(engine), .folder = folder, .outer = outer};
    j->progress = (mffa_progress){j, tick};
    j->fields = mffa_json_get(message, "fields");
    j->run = mffa_json_int(mffa_json_get(message, "run"), 0);
    copy_text(j->id, sizeof j->id, message, "job");
    copy_text(j->kind, sizeof j->kind, message, "kind");
    copy_text(j->nonce, sizeof j->nonce, message, "nonce");
    mffa_timings_enter(&j->timings, "prepare", mffa_now_ms());
    const char *on_bad_image = "fail";
    mffa_code rc = mffa_job_choice(j, "on_bad_image", "fail|skip", "fail", &on_bad_image, err);
    j->skip_bad = strcmp(on_bad_image, "skip") == 0;
    if (!rc) rc = open_url(j, "dataset", &j->dataset, err);
    if (!rc) rc = open_url(j, "output", &j->output, err);
    if (!rc) rc = mffa_results_open(j->output, j->kind, j->id, j->run, j->nonce, &j->results, err);
    if (!rc) mffa_results_trace(j->results, mffa_job_text(j, "trace", ""));
    return rc;
}

void mffa_job_done(mffa_job *j) {
    mffa_results_close(j->results);
    mffa_store_close(j->output);
    mffa_store_close(j->dataset);
    mffa_skipped_done(&j->skipped);
    mffa_buf_done(&j->note);
    mffa_facts_done(&j->facts);
    *j = (mffa_job){0};
}

mffa_code mffa_job_run(mffa_job *j, mffa_err *err) {
    static const struct { const char *kind; mffa_code (*run)(mffa_job *, mffa_err *); } kinds[] = {
        {"finetune", mffa_job_finetune}, {"fit", mffa_job_fit}, {"evaluate", mffa_job_evaluate}, {"score", mffa_job_score},
        {"verify", mffa_job_verify}};
    for (size_t i = 0; i < MFFA_COUNT(kinds); i++)
        if (strcmp(kinds[i].kind, j->kind) == 0) return kinds[i].run(j, err);
    return mffa_fail(err, MFFA_EUNSUPPORTED, "\"%s\" is not a kind that this worker knows: finetune, fit, evaluate, score, verify",
                     j->kind);
}

mffa_code mffa_job_inputs(mffa_job *j, mffa_dataset_use use, mffa_inputs *out, mffa_err *err) {
    mffa_code rc = mffa_inputs_open(j->dataset, use, out, err);
    if (rc) return rc;
    const char *before = mffa_job_text(j, "inputs", NULL);
    if (before && strcmp(before, out->sha256) != 0)
        mffa_buf_putf(&j->note, "%sthe data set has changed since an earlier run of this job: its listing was %.12s and is %.12s",
                      j->note.len ? "; " : "", before, out->sha256);
    if (j->listed) j->listed(j->outer->ctx, out->sha256);
    return mffa_buf_check(&j->note, err);
}

char *mffa_job_path(const mffa_job *j, const char *name) { return mffa_url_join(j->folder, name); }

mffa_summary mffa_job_summary(const mffa_job *j) {
    return (mffa_summary){.kind = j->kind,
                          .job = j->id,
                          .nonce = j->nonce,
                          .run = j->run,
                          .result = mffa_results_url(j->results),
                          .created_ms = mffa_wall_ms(),
                          .dataset = mffa_store_url(j->dataset),
                          .note = j->note.len ? mffa_buf_text(&j->note) : NULL,
                          .precision = j->config->precision,
                          .skipped = &j->skipped,
                          .timings = &j->timings,
                          .planned_memory = j->planned,
                          .peak_memory = {mffa_memory_peak_bytes(), mffa_engine_device_memory(j->engine).peak}};
}

mffa_code mffa_job_conclude(mffa_job *j, const mffa_summary *s, mffa_err *err) {
    MFFA_AUTO(mffa_json_close_p) mffa_json *document = mffa_summary_document(s);
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf packed = {0};
    mffa_code rc = mffa_json_write(document, 2, &text, err);
    mffa_buf_puts(&text, "\n");
    mffa_pack_json(&packed, document);
    if (!rc) rc = mffa_buf_check(&text, err);
    if (!rc) rc = mffa_buf_check(&packed, err);
    if (!rc) rc = mffa_results_put(j->results, "summary.json", mffa_buf_span(&text), err);
    if (!rc) rc = mffa_results_put(j->results, "summary.msgpack", mffa_buf_span(&packed), err);
    if (!rc) rc = mffa_summary_facts(s, mffa_buf_span(&packed), &j->facts, err);
    return rc ? rc : mffa_results_finish(j->results, err);
}

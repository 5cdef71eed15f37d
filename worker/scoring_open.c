/* Everything that scoring needs, found and checked before the first picture. */
#include "worker/scoring.h"

#include <string.h>
#include "worker/memory_plan.h"

static mffa_code read_options(mffa_scoring *s, mffa_err *err) {
    mffa_code rc = mffa_job_choice(s->job, "maps", "product|nns|gaussian", "product", &s->maps_name, err);
    if (rc) return rc;
    s->maps_kind = strcmp(s->maps_name, "nns") == 0        ? MFFA_MAPS_NNS
                   : strcmp(s->maps_name, "gaussian") == 0 ? MFFA_MAPS_GAUSSIAN
                                                           : MFFA_MAPS_PRODUCT;
    return MFFA_OK;
}

/* For sorting pixels: 16 bytes each, but never much of what the worker has. */
static int64_t metrics_memory(const mffa_job *j, int side, int64_t pictures) {
    int64_t some = mffa_engine_memory_bytes(j->engine) / 8, most = INT64_C(256) << 20, least = 1 << 20, all = pictures * side * side * 16;
    if (some > most) some = most;
    return all < least ? least : all < some ? all : some;
}

/* A CPU gains nothing from more at once, and the wish to stop is heard between two batches. */
static int64_t batch_room(const mffa_scoring *s) {
    int64_t most = strncmp(mffa_network_describe(s->fitted.network)->device, "cpu", 3) == 0 ? 4 : INT64_MAX;
    return s->job->config->batch < most ? s->job->config->batch : most;
}

mffa_code mffa_scoring_open(mffa_scoring *s, mffa_job *j, mffa_dataset_use use, mffa_err *err) {
    s->job = j;
    mffa_code rc = read_options(s, err);
    if (!rc) rc = mffa_job_inputs(j, use, &s->inputs, err);
    if (!rc) rc = mffa_fitted_open(j, &s->fitted, err);
    if (rc) return rc;
    int side = mffa_model_profile(s->fitted.model)->side;
    int64_t sorting = use == MFFA_USE_TEST ? metrics_memory(j, side, (int64_t)mffa_dataset_count(s->inputs.set)) : 0;
    s->batch = batch_room(s);
    rc = mffa_plan_scoring(j, s->fitted.model, s->fitted.network, s->batch, sorting, err);
    if (rc) return rc;
    rc = mffa_map_spool_open(j->folder, side, &s->spool, err);
    if (rc) return rc;
    s->scores = (mffa_scores){.job = j->id,
                              .kind = j->kind,
                              .model_url = mffa_store_url(s->fitted.reference.store),
                              .model_sha256 = s->fitted.file.sha256,
                              .side = side};
    return use == MFFA_USE_TEST ? mffa_metrics_open(j->folder, sorting, side, &s->metrics, err) : MFFA_OK;
}

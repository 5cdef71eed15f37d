/* Everything that scoring needs, found and checked before the first picture. */
#include "worker/scoring.h"

#include <string.h>

static mffa_code check_profile(const mffa_scoring *s, mffa_err *err) {
    const char *said = mffa_job_text(s->job, "profile", NULL), *fitted = mffa_model_profile(s->model)->name;
    if (!said || strcmp(said, fitted) == 0) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL,
                     "profile=\"%s\", but the model \"%s\" was fitted with profile \"%s\": leave profile out, or name another model", said,
                     mffa_store_url(s->reference.store), fitted);
}

/* A fine-tuned backbone lies beside the model; everything else is found by its hash. */
static mffa_code find_weights(mffa_scoring *s, mffa_err *err) {
    static const char tuned[] = "backbone.safetensors";
    const mffa_provenance *from = mffa_model_provenance(s->model);
    const mffa_manifest_object *beside = mffa_manifest_find(&s->reference.manifest, tuned);
    mffa_code rc = MFFA_OK;
    if (beside && strcmp(beside->sha256, from->backbone_sha256) == 0)
        rc = mffa_reference_take(s->job, &s->reference, tuned, &s->weights.backbone, err);
    return rc ? rc : mffa_pretrained_recorded(s->job, from, &s->weights, err);
}

static mffa_code open_model(mffa_scoring *s, mffa_err *err) {
    static const char object[] = "model.safetensors";
    mffa_job *j = s->job;
    mffa_code rc = mffa_reference_open(j, "model", "fit", object, &s->reference, err);
    if (!rc) rc = mffa_reference_take(j, &s->reference, object, &s->model_file, err);
    if (!rc) rc = mffa_engine_model(j->engine, s->model_file.path, s->model_file.sha256, &s->model, err);
    if (!rc) rc = check_profile(s, err);
    if (!rc) rc = find_weights(s, err);
    return rc ? rc : mffa_engine_network(j->engine, &s->weights.backbone, s->weights.transformer.path ? &s->weights.transformer : NULL,
                                         mffa_model_profile(s->model)->blocks, &s->network, err);
}

static mffa_code read_options(mffa_scoring *s, mffa_err *err) {
    mffa_code rc = mffa_job_choice(s->job, "maps", "product|nns|gaussian", "product", &s->maps_name, err);
    if (rc) return rc;
    s->maps_kind = strcmp(s->maps_name, "nns") == 0        ? MFFA_MAPS_NNS
                   : strcmp(s->maps_name, "gaussian") == 0 ? MFFA_MAPS_GAUSSIAN
                                                           : MFFA_MAPS_PRODUCT;
    return MFFA_OK;
}

static int64_t metrics_memory(const mffa_job *j) {
    int64_t some = mffa_engine_memory_bytes(j->engine) / 8, most = INT64_C(256) << 20;
    return some < most ? some : most;
}

mffa_code mffa_scoring_open(mffa_scoring *s, mffa_job *j, mffa_dataset_use use, mffa_err *err) {
    s->job = j;
    mffa_code rc = read_options(s, err);
    if (!rc) rc = mffa_job_inputs(j, use, &s->inputs, err);
    if (!rc) rc = open_model(s, err);
    if (rc) return rc;
    int side = mffa_model_profile(s->model)->side;
    rc = mffa_map_spool_open(j->folder, side, &s->spool, err);
    if (rc) return rc;
    s->scores = (mffa_scores){
        .job = j->id, .kind = j->kind, .model_url = mffa_store_url(s->reference.store), .model_sha256 = s->model_file.sha256, .side = side};
    return use == MFFA_USE_TEST ? mffa_metrics_open(j->folder, metrics_memory(j), side, &s->metrics, err) : MFFA_OK;
}

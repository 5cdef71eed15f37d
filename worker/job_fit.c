#include "worker/inputs.h"
#include "worker/job.h"
#include "worker/memory_plan.h"
#include "worker/pictures.h"
#include "worker/reference.h"
#include "worker/pretrained.h"

typedef struct fit { /* what the job holds on to */
    mffa_inputs inputs;
    mffa_reference reference; /* of a fine-tuned backbone */
    mffa_pretrained weights;
    mffa_training training;
    mffa_model *model;
    bool tuned;
} fit;

static void fit_done(fit *f) {
    mffa_model_close(f->model);
    mffa_training_done(&f->training);
    mffa_pretrained_done(&f->weights);
    mffa_reference_done(&f->reference);
    mffa_inputs_done(&f->inputs);
}

static mffa_code find_weights(fit *f, mffa_job *j, const mffa_profile *p, mffa_err *err) {
    f->tuned = mffa_job_text(j, "backbone_url", mffa_job_text(j, "backbone", NULL));
    int need = (f->tuned ? 0 : MFFA_NEED_BACKBONE) | (p->blocks > 0 ? MFFA_NEED_TRANSFORMER : 0);
    mffa_code rc = mffa_pretrained_recognised(j, need, &f->weights, err);
    if (rc || !f->tuned) return rc;
    rc = mffa_reference_open(j, "backbone", "finetune", "backbone.safetensors", &f->reference, err);
    return rc ? rc : mffa_reference_take(j, &f->reference, "backbone.safetensors", &f->weights.backbone, err);
}

static mffa_provenance provenance_of(const fit *f, const mffa_job *j) {
    mffa_provenance from = {0};
    snprintf(from.backbone_name, sizeof from.backbone_name, "%s", f->weights.backbone.name);
    snprintf(from.backbone_sha256, sizeof from.backbone_sha256, "%s", f->weights.backbone.sha256);
    if (f->weights.transformer.path) {
        snprintf(from.transformer_name, sizeof from.transformer_name, "%s", f->weights.transformer.name);
        snprintf(from.transformer_sha256, sizeof from.transformer_sha256, "%s", f->weights.transformer.sha256);
    }
    snprintf(from.dataset, sizeof from.dataset, "%s", mffa_store_url(j->dataset));
    return from;
}

static mffa_code put_model(const fit *f, mffa_job *j, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = mffa_job_path(j, "model.safetensors");
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_tick(&j->progress, "publish", 0, 1, err);
    if (!rc) rc = mffa_model_save(f->model, path, err);
    if (!rc) rc = mffa_results_put_file(j->results, "model.safetensors", path, err);
    if (!rc && f->tuned) rc = mffa_results_put_file(j->results, "backbone.safetensors", f->weights.backbone.path, err);
    (void)unlink(path);
    return rc;
}

static mffa_code conclude(const fit *f, mffa_job *j, const mffa_network *net, mffa_err *err) {
    mffa_summary_fit found = {.train_images = mffa_model_train_images(f->model), .bank_rows = mffa_model_bank_rows(f->model)};
    mffa_summary s = mffa_job_summary(j);
    s.dataset_sha256 = f->inputs.sha256;
    s.ignored = (int64_t)mffa_dataset_ignored(f->inputs.set);
    s.profile = mffa_model_profile(f->model);
    s.from = mffa_model_provenance(f->model);
    s.device = mffa_network_describe(net)->device;
    s.fit = &found;
    return mffa_job_conclude(j, &s, err);
}

mffa_code mffa_job_fit(mffa_job *j, mffa_err *err) {
    MFFA_AUTO(fit_done) fit f = {0};
    mffa_profile p;
    mffa_network *net = NULL;
    mffa_code rc = mffa_job_profile(j, &p, err);
    if (!rc) rc = mffa_job_inputs(j, MFFA_USE_TRAIN, &f.inputs, err);
    if (!rc) rc = find_weights(&f, j, &p, err);
    mffa_engine_forget_model(j->engine);
    if (!rc) rc = mffa_engine_network(j->engine, &f.weights.backbone, &f.weights.transformer, p.blocks, &net, err);
    if (!rc) rc = mffa_plan_fit(j, net, &p, (int64_t)mffa_dataset_count(f.inputs.set), 0, err);
    if (!rc) rc = mffa_training_init(&f.training, j, f.inputs.set, err);
    if (rc) return rc;
    mffa_source train = mffa_training_source(&f.training);
    mffa_provenance from = provenance_of(&f, j);
    rc = mffa_model_fit(net, &p, &from, &train, &j->progress, &f.model, err);
    if (!rc) rc = put_model(&f, j, err);
    return rc ? rc : conclude(&f, j, net, err);
}

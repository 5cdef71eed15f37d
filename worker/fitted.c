#include "worker/fitted.h"

#include <string.h>

void mffa_fitted_done(mffa_fitted *f) {
    mffa_reference_done(&f->reference);
    mffa_pretrained_file_done(&f->file);
    mffa_pretrained_done(&f->weights);
    *f = (mffa_fitted){0};
}

static mffa_code check_profile(const mffa_job *j, const mffa_fitted *f, mffa_err *err) {
    const char *said = mffa_job_text(j, "profile", NULL), *fitted = mffa_model_profile(f->model)->name;
    if (!said || strcmp(said, fitted) == 0) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL,
                     "profile=\"%s\", but the model \"%s\" was fitted with profile \"%s\": leave profile out, or name another model", said,
                     mffa_store_url(f->reference.store), fitted);
}

static mffa_code find_weights(mffa_job *j, mffa_fitted *f, mffa_err *err) {
    static const char tuned[] = "backbone.safetensors";
    const mffa_provenance *from = mffa_model_provenance(f->model);
    const mffa_manifest_object *beside = mffa_manifest_find(&f->reference.manifest, tuned);
    mffa_code rc = MFFA_OK;
    if (beside && strcmp(beside->sha256, from->backbone_sha256) == 0)
        rc = mffa_reference_take(j, &f->reference, tuned, &f->weights.backbone, err);
    return rc ? rc : mffa_pretrained_recorded(j, from, &f->weights, err);
}

mffa_code mffa_fitted_open(mffa_job *j, mffa_fitted *f, mffa_err *err) {
    static const char object[] = "model.safetensors";
    mffa_code rc = mffa_reference_open(j, "model", "fit", object, &f->reference, err);
    if (!rc) rc = mffa_reference_take(j, &f->reference, object, &f->file, err);
    if (!rc) rc = mffa_engine_model(j->engine, f->file.path, f->file.sha256, &f->model, err);
    if (!rc) rc = check_profile(j, f, err);
    if (!rc) rc = find_weights(j, f, err);
    return rc ? rc
              : mffa_engine_network(j->engine, &f->weights.backbone, f->weights.transformer.path ? &f->weights.transformer : NULL,
                                    mffa_model_profile(f->model)->blocks, &f->network, err);
}

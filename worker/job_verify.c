/* Computes a model again from the pictures, weights and seeds that it names, and tells how far the two are apart. */
#include "worker/fitted.h"
#include "worker/inputs.h"
#include "worker/memory_plan.h"
#include "worker/pictures.h"

typedef struct verify { /* what the job holds on to */
    mffa_inputs inputs;
    mffa_fitted fitted;
    mffa_training training;
    mffa_model *again;
} verify;

static void verify_done(verify *v) {
    mffa_model_close(v->again);
    mffa_training_done(&v->training);
    mffa_fitted_done(&v->fitted);
    mffa_inputs_done(&v->inputs);
}

static mffa_code conclude(const verify *v, mffa_job *j, const mffa_model_difference *difference, mffa_err *err) {
    mffa_summary_verify found = {.model_url = mffa_store_url(v->fitted.reference.store),
                                 .model_sha256 = v->fitted.file.sha256,
                                 .train_images = mffa_model_train_images(v->again),
                                 .difference = difference};
    mffa_summary s = mffa_job_summary(j);
    s.dataset_sha256 = v->inputs.sha256;
    s.ignored = (int64_t)mffa_dataset_ignored(v->inputs.set);
    s.profile = mffa_model_profile(v->fitted.model);
    s.from = mffa_model_provenance(v->fitted.model);
    s.device = mffa_network_describe(v->fitted.network)->device;
    s.verify = &found;
    return mffa_job_conclude(j, &s, err);
}

mffa_code mffa_job_verify(mffa_job *j, mffa_err *err) {
    MFFA_AUTO(verify_done) verify v = {0};
    mffa_model_difference difference;
    mffa_code rc = mffa_job_inputs(j, MFFA_USE_TRAIN, &v.inputs, err);
    if (!rc) rc = mffa_fitted_open(j, &v.fitted, err);
    if (rc) return rc;
    mffa_profile p = *mffa_model_profile(v.fitted.model);
    p.keep_statistics = false; /* the factors come from them: comparing these is enough */
    rc = mffa_plan_fit(j, v.fitted.network, &p, (int64_t)mffa_dataset_count(v.inputs.set), mffa_model_bytes(v.fitted.model), err);
    if (!rc) rc = mffa_training_init(&v.training, j, v.inputs.set, err);
    if (rc) return rc;
    mffa_source train = mffa_training_source(&v.training);
    rc = mffa_model_fit(v.fitted.network, &p, mffa_model_provenance(v.fitted.model), &train, &j->progress, &v.again, err);
    if (!rc) rc = mffa_tick(&j->progress, "compare", 0, 1, err);
    if (!rc) rc = mffa_model_compare(v.fitted.model, v.again, &difference, err);
    return rc ? rc : conclude(&v, j, &difference, err);
}

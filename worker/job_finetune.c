#include "core/mffa/psg.h"

#include <string.h>
#include "worker/inputs.h"
#include "worker/job.h"
#include "worker/memory_plan.h"
#include "worker/pictures.h"
#include "worker/pretrained.h"

/* The last epoch's checkpoint lies beside the run folders, so that the job's next run finds it; gone when the job is done. */
typedef struct checkpoint {
    mffa_job *job;
    char folder[128], key[160];
    char *path;
} checkpoint;

#define CHECKPOINT "checkpoint.safetensors"

static mffa_code open_checkpoint(checkpoint *c, mffa_job *j, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *there = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf here = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *folder = NULL;
    c->job = j;
    c->path = mffa_job_path(j, CHECKPOINT);
    snprintf(c->folder, sizeof c->folder, "finetune-%s/checkpoint/", j->id);
    snprintf(c->key, sizeof c->key, "%s" CHECKPOINT, c->folder);
    mffa_buf_putf(&here, "file://%s", j->folder);
    if (here.failed || !c->path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_err why = {0};
    mffa_code rc = mffa_store_local(j->output, c->key, &there, &why);
    if (rc == MFFA_ENOTFOUND) return MFFA_OK;
    if (rc) return mffa_fail(err, rc, "%s", why.msg);
    rc = mffa_store_open(mffa_buf_text(&here), &folder, err);
    return rc ? rc : mffa_store_put_file(folder, CHECKPOINT, there, MFFA_PUT_REPLACE, err);
}

static mffa_code keep_checkpoint(void *ctx, int epoch, double loss, double accuracy, mffa_err *err) {
    checkpoint *c = ctx;
    (void)epoch, (void)loss, (void)accuracy;
    return mffa_store_put_file(c->job->output, c->key, c->path, MFFA_PUT_REPLACE, err);
}

static void checkpoint_done(checkpoint *c) { free(c->path); }

static mffa_code read_params(const mffa_job *j, mffa_psg_params *p, mffa_err *err) {
    mffa_profile profile;
    mffa_psg_defaults(p);
    mffa_code rc = mffa_job_profile(j, &profile, err);
    if (rc) return rc;
    int64_t epochs = p->epochs, size = p->batch;
    rc = mffa_job_int(j, "epochs", 1, 10000, &epochs, err);
    if (!rc) rc = mffa_job_int(j, "batch", 1, 1024, &size, err);
    if (!rc) rc = mffa_job_num(j, "learning_rate", &p->learning_rate, err);
    if (!rc && p->learning_rate <= 0) rc = mffa_fail(err, MFFA_EINVAL, "learning_rate=\"%g\": expected more than 0", p->learning_rate);
    p->side = profile.side, p->seed = profile.seed;
    p->epochs = (int)epochs, p->batch = (int)size;
    return rc;
}

typedef struct tuning { /* what the job holds on to */
    mffa_inputs inputs;
    mffa_pretrained weights;
    mffa_training training;
    char *out_path;
} tuning;

static void tuning_done(tuning *t) {
    mffa_training_done(&t->training);
    mffa_pretrained_done(&t->weights);
    mffa_inputs_done(&t->inputs);
    free(t->out_path);
}

static mffa_code conclude(const tuning *t, mffa_job *j, const mffa_psg_params *params, const mffa_psg_result *result, mffa_err *err) {
    mffa_provenance from = {0};
    snprintf(from.backbone_name, sizeof from.backbone_name, "%s", t->weights.backbone.name);
    snprintf(from.backbone_sha256, sizeof from.backbone_sha256, "%s", t->weights.backbone.sha256);
    mffa_summary_finetune found = {params, result};
    mffa_summary s = mffa_job_summary(j);
    s.dataset_sha256 = t->inputs.sha256;
    s.ignored = (int64_t)mffa_dataset_ignored(t->inputs.set);
    s.from = &from;
    s.device = j->config->device;
    s.finetune = &found;
    return mffa_job_conclude(j, &s, err);
}

static mffa_code tune(tuning *t, mffa_job *j, const mffa_psg_params *given, mffa_err *err) {
    MFFA_AUTO(checkpoint_done) checkpoint c = {0};
    mffa_psg_params params = *given;
    mffa_psg_result result = {0};
    mffa_network_options options = mffa_engine_options(j->engine);
    mffa_source train = mffa_training_source(&t->training);
    mffa_psg_hooks hooks = {&c, keep_checkpoint};
    mffa_code rc = open_checkpoint(&c, j, err);
    params.checkpoint = c.path;
    if (!rc) rc = mffa_psg_finetune(t->weights.backbone.path, &options, &params, &train, t->out_path, &hooks, &j->progress, &result, err);
    if (rc == MFFA_ENOMEM) /* half a batch would be another training: BatchNorm sees the whole of it */
        return mffa_wrap(
            err, rc, "fine-tuning with batch=%d was planned with %lld bytes of memory and found less; a smaller batch or side needs less",
            params.batch, (long long)(j->planned.device ? j->planned.device : j->planned.host));
    if (!rc) rc = mffa_tick(&j->progress, "publish", 0, 1, err);
    if (!rc) rc = mffa_results_put_file(j->results, "backbone.safetensors", t->out_path, err);
    if (!rc) rc = conclude(t, j, &params, &result, err);
    return rc ? rc : mffa_store_delete_all(j->output, c.folder, err); /* with what a killed run had half written there */
}

mffa_code mffa_job_finetune(mffa_job *j, mffa_err *err) {
    MFFA_AUTO(tuning_done) tuning t = {0};
    mffa_psg_params params;
    mffa_code rc = read_params(j, &params, err);
    if (!rc) rc = mffa_job_inputs(j, MFFA_USE_TRAIN, &t.inputs, err);
    if (!rc) rc = mffa_pretrained_recognised(j, MFFA_NEED_BACKBONE, &t.weights, err);
    if (!rc) rc = mffa_training_init(&t.training, j, t.inputs.set, err);
    if (!rc && !(t.out_path = mffa_job_path(j, "backbone.safetensors"))) rc = mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (rc) return rc;
    mffa_engine_cool(j->engine); /* training needs the memory that a warm network holds */
    rc = mffa_plan_finetune(j, t.weights.backbone.path, &params, (int64_t)mffa_dataset_count(t.inputs.set), err);
    return rc ? rc : tune(&t, j, &params, err);
}

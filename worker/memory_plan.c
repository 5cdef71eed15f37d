#include "worker/memory_plan.h"

#include "core/base/log.h"

/* True when it fits. */
static bool announce(mffa_job *j, int64_t need, int64_t *limit) {
    *limit = mffa_engine_memory_bytes(j->engine);
    j->planned_bytes = need;
    mffa_log(MFFA_INFO, "job.memory", mffa_str("job", j->id), mffa_int("planned_bytes", need), mffa_int("limit_bytes", *limit));
    return need <= *limit;
}

mffa_code mffa_plan_fit(mffa_job *j, const mffa_network *net, const mffa_profile *p, int64_t images, int64_t held_bytes, mffa_err *err) {
    int64_t need = held_bytes + mffa_model_fit_bytes(net, p, images), limit;
    if (announce(j, need, &limit)) return MFFA_OK;
    mffa_profile smaller = *p;
    do {
        smaller.side -= 32;
        if (smaller.grid > smaller.side / 4) smaller.grid = smaller.side / 4;
    } while (smaller.side >= 64 && held_bytes + mffa_model_fit_bytes(net, &smaller, images) > limit);
    if (smaller.side >= 64)
        return mffa_fail(err, MFFA_EINVAL,
                         "fitting %lld pictures at side %d needs %lld bytes of memory, the worker has %lld: side=%d would fit",
                         (long long)images, p->side, (long long)need, (long long)limit, smaller.side);
    return mffa_fail(
        err, MFFA_EINVAL,
        "fitting %lld pictures at side %d needs %lld bytes of memory, the worker has %lld: give fewer pictures, a smaller ratio, or a "
        "worker with more memory (MFFA_MEMORY_BYTES)",
        (long long)images, p->side, (long long)need, (long long)limit);
}

mffa_code mffa_plan_scoring(mffa_job *j, const mffa_model *m, const mffa_network *net, int64_t batch, int64_t figures_bytes,
                            mffa_err *err) {
    int64_t need = figures_bytes + mffa_model_score_bytes(m, net, batch), limit;
    if (announce(j, need, &limit)) return MFFA_OK;
    while (batch > 1 && figures_bytes + mffa_model_score_bytes(m, net, batch) > limit) batch /= 2;
    if (figures_bytes + mffa_model_score_bytes(m, net, batch) <= limit)
        return mffa_fail(err, MFFA_EINVAL, "scoring needs %lld bytes of memory, the worker has %lld: MFFA_BATCH=%lld would fit",
                         (long long)need, (long long)limit, (long long)batch);
    return mffa_fail(
        err, MFFA_EINVAL,
        "scoring needs %lld bytes of memory, the worker has %lld: fit with a smaller grid or ratio, or give a worker with more "
        "memory (MFFA_MEMORY_BYTES)",
        (long long)need, (long long)limit);
}

mffa_code mffa_plan_finetune(mffa_job *j, const char *backbone, const mffa_psg_params *p, int64_t images, mffa_err *err) {
    mffa_psg_params smaller = *p;
    int64_t need = 0, less = 0, limit;
    mffa_code rc = mffa_psg_bytes(backbone, p, images, &need, err);
    if (rc || announce(j, need, &limit)) return rc;
    do {
        smaller.batch = (int)(smaller.batch < images ? smaller.batch : images) / 2;
        rc = smaller.batch ? mffa_psg_bytes(backbone, &smaller, images, &less, err) : MFFA_OK;
        if (rc) return rc;
    } while (smaller.batch && less > limit);
    if (smaller.batch)
        return mffa_fail(err, MFFA_EINVAL,
                         "fine-tuning with %d pictures a step at side %d needs %lld bytes of memory, the worker has %lld: batch=%d would "
                         "fit, but BatchNorm then sees fewer pictures",
                         p->batch, p->side, (long long)need, (long long)limit, smaller.batch);
    return mffa_fail(
        err, MFFA_EINVAL,
        "fine-tuning at side %d needs %lld bytes of memory, the worker has %lld: give a smaller side, psg=off, or a worker with "
        "more memory (MFFA_MEMORY_BYTES)",
        p->side, (long long)need, (long long)limit);
}

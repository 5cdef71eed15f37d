#include "worker/memory_plan.h"

#include "core/base/log.h"
#include "worker/memory.h"

typedef struct room { /* bytes */
    int64_t host, device;
} room;

static room room_of(mffa_job *j) { /* all of the GPU's memory but what others hold: networks and models give way */
    return (room){mffa_engine_memory_bytes(j->engine), mffa_engine_device_memory(j->engine).available};
}

static bool fits(mffa_need need, room r) { return need.host <= r.host && need.device <= r.device; }

/* True when it fits. From here on the peak is measured: networks and models of jobs before have given way. */
static bool announce(mffa_job *j, mffa_need need, room r) {
    j->planned = need;
    mffa_memory_peak_reset();
    mffa_engine_device_memory_reset(j->engine);
    mffa_log(MFFA_INFO, "job.memory", mffa_str("job", j->id), mffa_int("planned_bytes", need.host), mffa_int("limit_bytes", r.host),
             mffa_int("planned_device_bytes", need.device), mffa_int("limit_device_bytes", r.device));
    return fits(need, r);
}

typedef struct shortage { /* what is short, for a sentence: "123 bytes of memory, the worker has 100" */
    char text[128];
} shortage;

static shortage shortage_of(mffa_need need, room r) {
    shortage s;
    bool host = need.host > r.host;
    snprintf(s.text, sizeof s.text, "%lld bytes of %s, the %s has %lld", (long long)(host ? need.host : need.device),
             host ? "memory" : "the GPU's memory", host ? "worker" : "GPU", (long long)(host ? r.host : r.device));
    return s;
}

static mffa_need fit_need(const mffa_network *net, const mffa_profile *p, int64_t images, int64_t held_bytes) {
    mffa_need need = mffa_model_fit_need(net, p, images);
    need.host += held_bytes;
    return need;
}

mffa_code mffa_plan_fit(mffa_job *j, const mffa_network *net, const mffa_profile *p, int64_t images, int64_t held_bytes, mffa_err *err) {
    mffa_need need = fit_need(net, p, images, held_bytes);
    room r = room_of(j);
    if (announce(j, need, r)) return MFFA_OK;
    mffa_profile smaller = *p;
    do {
        smaller.side -= 32;
        if (smaller.grid > smaller.side / 4) smaller.grid = smaller.side / 4;
    } while (smaller.side >= 64 && !fits(fit_need(net, &smaller, images, held_bytes), r));
    if (smaller.side >= 64)
        return mffa_fail(err, MFFA_EINVAL, "fitting %lld pictures at side %d needs %s: side=%d would fit", (long long)images, p->side,
                         shortage_of(need, r).text, smaller.side);
    return mffa_fail(err, MFFA_EINVAL,
                     "fitting %lld pictures at side %d needs %s: give fewer pictures, a smaller ratio, or a worker with more memory "
                     "(MFFA_MEMORY_BYTES)",
                     (long long)images, p->side, shortage_of(need, r).text);
}

static mffa_need scoring_need(const mffa_model *m, const mffa_network *net, int64_t batch, int64_t figures_bytes) {
    mffa_need need = mffa_model_score_need(m, net, batch);
    need.host += figures_bytes;
    return need;
}

mffa_code mffa_plan_scoring(mffa_job *j, const mffa_model *m, const mffa_network *net, int64_t batch, int64_t figures_bytes,
                            mffa_err *err) {
    mffa_need need = scoring_need(m, net, batch, figures_bytes);
    room r = room_of(j);
    if (announce(j, need, r)) return MFFA_OK;
    while (batch > 1 && !fits(scoring_need(m, net, batch, figures_bytes), r)) batch /= 2;
    if (fits(scoring_need(m, net, batch, figures_bytes), r))
        return mffa_fail(err, MFFA_EINVAL, "scoring needs %s: MFFA_BATCH=%lld would fit", shortage_of(need, r).text, (long long)batch);
    return mffa_fail(err, MFFA_EINVAL,
                     "scoring needs %s: fit with a smaller grid or ratio, or give a worker with more memory (MFFA_MEMORY_BYTES)",
                     shortage_of(need, r).text);
}

mffa_code mffa_plan_finetune(mffa_job *j, const char *backbone, const mffa_psg_params *p, int64_t images, mffa_err *err) {
    mffa_psg_params smaller = *p;
    mffa_need need = {0}, less = {0};
    room r = room_of(j);
    bool gpu = mffa_engine_device_memory(j->engine).total > 0;
    mffa_code rc = mffa_psg_need(backbone, p, images, gpu, &need, err);
    if (rc || announce(j, need, r)) return rc;
    do {
        smaller.batch = (int)(smaller.batch < images ? smaller.batch : images) / 2;
        rc = smaller.batch ? mffa_psg_need(backbone, &smaller, images, gpu, &less, err) : MFFA_OK;
        if (rc) return rc;
    } while (smaller.batch && !fits(less, r));
    if (smaller.batch)
        return mffa_fail(
            err, MFFA_EINVAL,
            "fine-tuning with %d pictures a step at side %d needs %s: batch=%d would fit, but BatchNorm then sees fewer pictures", p->batch,
            p->side, shortage_of(need, r).text, smaller.batch);
    return mffa_fail(err, MFFA_EINVAL,
                     "fine-tuning at side %d needs %s: give a smaller side, psg=off, or a worker with more memory (MFFA_MEMORY_BYTES)",
                     p->side, shortage_of(need, r).text);
}

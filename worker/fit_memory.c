#include "worker/fit_memory.h"

mffa_code mffa_fit_memory_check(mffa_job *j, const mffa_network *net, const mffa_profile *p, int64_t images, int64_t held_bytes,
                                mffa_err *err) {
    int64_t limit = mffa_engine_memory_bytes(j->engine), need = held_bytes + mffa_model_fit_bytes(net, p, images);
    if (need <= limit) return MFFA_OK;
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

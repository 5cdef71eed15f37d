/* Progress of long work, and the way to stop it.
 * Long calls tick at least once a second of work. tick returns false to stop: the call then ends with MFFA_ECANCELLED, everything
 * it had made so far released. Called from the thread that made the call. */
#ifndef MFFA_CORE_BASE_PROGRESS_H
#define MFFA_CORE_BASE_PROGRESS_H

#include <stddef.h>
#include <stdint.h>
#include "core/base/err.h"

typedef struct mffa_progress { /* NULL or a NULL tick: nobody watches */
    void *ctx;
    /* phase: a constant word such as "features", "coreset"; done of total in that phase's unit */
    bool (*tick)(void *ctx, const char *phase, int64_t done, int64_t total);
} mffa_progress;

static inline mffa_code mffa_tick(const mffa_progress *p, const char *phase, int64_t done, int64_t total, mffa_err *err) {
    if (!p || !p->tick || p->tick(p->ctx, phase, done, total)) return MFFA_OK;
    return mffa_fail(err, MFFA_ECANCELLED, "stopped in \"%s\" at %lld of %lld", phase, (long long)done, (long long)total);
}

#endif

#include "worker/skipped.h"

#include <string.h>

mffa_code mffa_skipped_add(mffa_skipped *s, const char *key, const char *reason, mffa_err *err) {
    if (s->count++ >= MFFA_SKIPPED_KEPT) return MFFA_OK;
    int64_t i = s->count - 1;
    s->list[i].key = strdup(key);
    s->list[i].reason = strdup(reason);
    return s->list[i].key && s->list[i].reason ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

void mffa_skipped_done(mffa_skipped *s) {
    for (int i = 0; i < MFFA_SKIPPED_KEPT; i++) {
        free(s->list[i].key);
        free(s->list[i].reason);
    }
    *s = (mffa_skipped){0};
}

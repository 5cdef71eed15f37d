/* Pictures that on_bad_image=skip left out: all are counted, the first ones are kept with their reason. */
#ifndef MFFA_WORKER_SKIPPED_H
#define MFFA_WORKER_SKIPPED_H

#include <stdint.h>
#include "core/base/buf.h"

enum { MFFA_SKIPPED_KEPT = 50 };

typedef struct mffa_skipped { /* zero-initialise */
    int64_t count;
    struct { char *key, *reason; } list[MFFA_SKIPPED_KEPT];
} mffa_skipped;

MFFA_MUST_USE mffa_code mffa_skipped_add(mffa_skipped *s, const char *key, const char *reason, mffa_err *err);
void mffa_skipped_done(mffa_skipped *s);

#endif

/* Errors: the code says what the caller can do, the text says what happened.
 * One mffa_err, owned by the caller, passed last, NULL allowed. Where the fact is known: mffa_fail. On the way up: mffa_wrap,
 * once, and only with what the callee could not know. Texts are one line, lower case, no period, names in double quotes, always
 * with the reason and the value. Thread rule: an mffa_err belongs to one thread. */
#ifndef MFFA_CORE_BASE_ERR_H
#define MFFA_CORE_BASE_ERR_H

#include <stdbool.h>
#include "core/base/cleanup.h"

#define MFFA_CODES(X) /* X(NAME, retryable, text) */         \
    X(OK, 0, "ok")                                            \
    X(EINVAL, 0, "invalid input")                             \
    X(ENOTFOUND, 0, "not found")                              \
    X(EEXISTS, 0, "exists already")                           \
    X(EDENIED, 0, "not allowed")                              \
    X(EUNSUPPORTED, 0, "not supported")                       \
    X(ENOSPC, 1, "no space left")                             \
    X(ENOMEM, 1, "out of memory")                             \
    X(EIO, 1, "i/o failed")                                   \
    X(EDEVICE, 1, "accelerator failed")                       \
    X(ECANCELLED, 0, "cancelled")                             \
    X(EFENCED, 0, "the lease belongs to another run")         \
    X(ESKIP, 0, "left out")                                   \
    X(EBUG, 0, "internal error")

typedef enum mffa_code {
#define X(name, retryable, text) MFFA_##name,
    MFFA_CODES(X)
#undef X
} mffa_code;

typedef struct mffa_err {
    mffa_code code;
    char msg[512]; /* "" while code is MFFA_OK; cut with "..." when longer; control bytes of quoted names are shown as "?" */
} mffa_err;

/* Set err (when not NULL) and return code. */
mffa_code mffa_fail(mffa_err *err, mffa_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put "<context>: " in front of the text in err and return code. */
mffa_code mffa_wrap(mffa_err *err, mffa_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

const char *mffa_code_name(mffa_code code); /* "EINVAL"; static */
const char *mffa_code_text(mffa_code code); /* "invalid input"; static */
bool mffa_code_retryable(mffa_code code);   /* true: the same call may succeed later */

#endif

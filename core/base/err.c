#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(mffa_err *err, int wanted) {
    if (wanted >= (int)sizeof err->msg) memcpy(err->msg + sizeof err->msg - 4, "...", 4);
}

mffa_code mffa_fail(mffa_err *err, mffa_code code, const char *fmt, ...) {
    if (!err) return code;
    char msg[sizeof err->msg]; /* fmt's arguments may point into err->msg */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    err->code = code;
    memcpy(err->msg, msg, sizeof msg);
    mark_cut(err, n);
    return code;
}

mffa_code mffa_wrap(mffa_err *err, mffa_code code, const char *fmt, ...) {
    if (!err) return code;
    mffa_err inner = *err;
    char context[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    err->code = code;
    size_t at = strlen(context), left = sizeof err->msg - 1; /* the context gives way: the reason is the part worth keeping */
    size_t keep = strlen(inner.msg) + 2;
    if (keep > left) keep = left;
    if (at > left - keep) at = left - keep;
    memcpy(err->msg, context, at);
    int n = snprintf(err->msg + at, sizeof err->msg - at, ": %s", inner.msg);
    mark_cut(err, (int)at + n);
    return code;
}

const char *mffa_code_name(mffa_code code) {
    static const char *const names[] = {
#define X(name, retryable, text) #name,
        MFFA_CODES(X)
#undef X
    };
    return (size_t)code < MFFA_COUNT(names) ? names[code] : "?";
}

const char *mffa_code_text(mffa_code code) {
    static const char *const texts[] = {
#define X(name, retryable, text) text,
        MFFA_CODES(X)
#undef X
    };
    return (size_t)code < MFFA_COUNT(texts) ? texts[code] : "?";
}

bool mffa_code_retryable(mffa_code code) {
    static const bool retryable[] = {
#define X(name, can_retry, text) can_retry,
        MFFA_CODES(X)
#undef X
    };
    return (size_t)code < MFFA_COUNT(retryable) && retryable[code];
}

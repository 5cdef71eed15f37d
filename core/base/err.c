#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(char *text, size_t size, int wanted) {
    if (wanted >= (int)size && size >= 4) memcpy(text + size - 4, "...", 4);
}

/* Texts carry names from outside: one line, and nothing that a terminal would obey. */
static void keep_printable(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F) *text = '?';
}

mffa_code mffa_fail(mffa_err *err, mffa_code code, const char *fmt, ...) {
    if (!err) return code;
    char msg[sizeof err->msg] = ""; /* fmt's arguments may point into err->msg */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    mark_cut(msg, sizeof msg, n);
    keep_printable(msg);
    err->code = code;
    memcpy(err->msg, msg, sizeof msg);
    return code;
}

mffa_code mffa_wrap(mffa_err *err, mffa_code code, const char *fmt, ...) {
    if (!err) return code;
    mffa_err inner = *err;
    char context[sizeof err->msg] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    err->code = code;
    /* The context gives way: the reason is the part worth keeping. Fewer than 8 bytes of context say nothing. */
    enum { SHORTEST = 8 };
    size_t room = sizeof err->msg - 1 - strlen(inner.msg), wanted = strlen(context) + strlen(": ");
    if (wanted > room && room < SHORTEST + strlen(": ")) return code;
    size_t size = room - strlen(": ") + 1; /* of the context with its NUL */
    if (wanted > room) context[size - 1] = '\0', mark_cut(context, size, (int)size);
    keep_printable(context);
    size_t at = strlen(context);
    memcpy(err->msg, context, at);
    memcpy(err->msg + at, ": ", 2);
    memcpy(err->msg + at + 2, inner.msg, strlen(inner.msg) + 1);
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

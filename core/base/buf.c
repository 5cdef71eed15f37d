#include "core/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

mffa_span mffa_span_of(const char *text) { return (mffa_span){text ? text : "", text ? strlen(text) : 0}; }

bool mffa_span_is(mffa_span s, const char *text) { return s.len == strlen(text) && (s.len == 0 || memcmp(s.ptr, text, s.len) == 0); }

void mffa_buf_done(mffa_buf *b) {
    if (!b) return;
    free(b->ptr);
    *b = (mffa_buf){0};
}

void mffa_buf_clear(mffa_buf *b) {
    b->len = 0;
    if (b->ptr) b->ptr[0] = '\0';
}

static bool grow(mffa_buf *b, size_t more) {
    if (b->failed) return false;
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need) || need > SIZE_MAX / 2 - 1) return !(b->failed = true);
    if (need + 1 <= b->cap) return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need + 1) cap *= 2;
    char *p = realloc(b->ptr, cap);
    if (!p) return !(b->failed = true);
    b->ptr = p;
    b->cap = cap;
    return true;
}

void *mffa_buf_extend(mffa_buf *b, size_t len) {
    if (!grow(b, len)) return NULL;
    char *at = b->ptr + b->len;
    b->len += len;
    b->ptr[b->len] = '\0';
    return at;
}

void mffa_buf_put(mffa_buf *b, const void *bytes, size_t len) {
    void *at = mffa_buf_extend(b, len);
    if (at && len) memcpy(at, bytes, len);
}

void mffa_buf_puts(mffa_buf *b, const char *text) { mffa_buf_put(b, text, strlen(text)); }

void mffa_buf_putf(mffa_buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) b->failed = true;
    else if (grow(b, (size_t)n)) {
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

mffa_span mffa_buf_span(const mffa_buf *b) { return (mffa_span){b->ptr ? b->ptr : "", b->len}; }

const char *mffa_buf_text(const mffa_buf *b) { return b->ptr ? b->ptr : ""; }

mffa_code mffa_buf_check(const mffa_buf *b, mffa_err *err) {
    return b->failed ? mffa_fail(err, MFFA_ENOMEM, "out of memory after %zu bytes", b->len) : MFFA_OK;
}

static mffa_code read_stream(mffa_buf *b, FILE *f, const char *path, size_t max_bytes, mffa_err *err) {
    enum { STEP = 1 << 16 };
    for (size_t start = b->len, n = STEP; n == STEP;) {
        char *at = mffa_buf_extend(b, STEP);
        if (!at) return mffa_buf_check(b, err);
        n = fread(at, 1, STEP, f);
        b->len -= STEP - n;
        b->ptr[b->len] = '\0';
        if (b->len - start > max_bytes)
            return mffa_fail(err, MFFA_EINVAL, "\"%s\" has more than %zu bytes, the limit for this file", path, max_bytes);
    }
    return ferror(f) ? mffa_fail(err, MFFA_EIO, "could not read \"%s\": %s", path, strerror(errno)) : MFFA_OK;
}

mffa_code mffa_buf_read_file(mffa_buf *b, const char *path, size_t max_bytes, mffa_err *err) {
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "rbe");
    if (!f) {
        mffa_code code = errno == ENOENT || errno == ENOTDIR ? MFFA_ENOTFOUND : errno == EACCES ? MFFA_EDENIED : MFFA_EIO;
        return mffa_fail(err, code, "cannot open \"%s\": %s", path, strerror(errno));
    }
    size_t before = b->len;
    mffa_code rc = read_stream(b, f, path, max_bytes, err);
    if (rc && b->ptr) b->len = before, b->ptr[before] = '\0';
    return rc;
}

void *mffa_alloc_array(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    return calloc(bytes ? count : 1, bytes ? size : 1);
}

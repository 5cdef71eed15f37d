/* Bytes: mffa_span is borrowed, mffa_buf is owned.
 * Both may hold NUL bytes; the length is authoritative. A buf is always NUL-terminated behind its length, so text in it can be
 * printed. Appending after a failed allocation does nothing and the buf stays failed: build first, ask once with mffa_buf_check. */
#ifndef MFFA_CORE_BASE_BUF_H
#define MFFA_CORE_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include "core/base/err.h"

typedef struct mffa_span {
    const void *ptr;
    size_t len;
} mffa_span;

typedef struct mffa_buf { /* zero-initialise; mffa_buf_done when finished */
    char *ptr;            /* NULL until something was appended */
    size_t len, cap;
    bool failed;
} mffa_buf;

mffa_span mffa_span_of(const char *text); /* NULL counts as "" */
bool mffa_span_is(mffa_span s, const char *text);

void mffa_buf_done(mffa_buf *b);  /* frees and resets; NULL allowed */
void mffa_buf_clear(mffa_buf *b); /* length 0, keeps memory; a failed buf stays failed */
/* What is appended must not lie in b itself: b may move. */
void mffa_buf_put(mffa_buf *b, const void *bytes, size_t len);
void mffa_buf_puts(mffa_buf *b, const char *text);
void mffa_buf_putf(mffa_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* len more bytes at the end, uninitialised, to be written by the caller; NULL when out of memory. */
void *mffa_buf_extend(mffa_buf *b, size_t len);
mffa_span mffa_buf_span(const mffa_buf *b);
const char *mffa_buf_text(const mffa_buf *b); /* never NULL */
MFFA_MUST_USE mffa_code mffa_buf_check(const mffa_buf *b, mffa_err *err); /* MFFA_ENOMEM once an append failed */

/* Whole file into b (appended; b is as before on failure); refuses more than max_bytes with MFFA_EINVAL. MFFA_ENOTFOUND, MFFA_EDENIED and
 * MFFA_EIO name the path. */
MFFA_MUST_USE mffa_code mffa_buf_read_file(mffa_buf *b, const char *path, size_t max_bytes, mffa_err *err);

/* Array memory: NULL when count * size overflows or is out of memory (also for 0 elements it is a valid, freeable pointer). */
void *mffa_alloc_array(size_t count, size_t size);

#endif

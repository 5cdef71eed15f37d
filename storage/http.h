/* HTTP over libcurl, many requests at a time in one thread, on connections that are kept. The only file that sees curl.
 * A redirect is an answer like any other: it is never followed. Nothing hangs: connecting, silence and the whole request have limits.
 * An mffa_http belongs to one thread. */
#ifndef MFFA_STORAGE_HTTP_H
#define MFFA_STORAGE_HTTP_H

#include <stdint.h>
#include "core/base/buf.h"

typedef struct mffa_http_options {
    const char *ca_file;     /* NULL: the system's */
    bool unverified;         /* take any certificate */
    bool direct;             /* by no proxy, whatever the environment says */
    int connections;         /* at most, at a time */
    int64_t bytes_per_s;     /* of all requests together, either way; 0: no limit */
    int64_t connect_ms, stall_ms; /* to connect; without a byte either way (whole seconds are counted) */
} mffa_http_options;

typedef struct mffa_http mffa_http;
/* options and what they point to stay with the caller until close. */
MFFA_MUST_USE mffa_code mffa_http_open(const mffa_http_options *o, mffa_http **out, mffa_err *err);
void mffa_http_close(mffa_http *h); /* running requests end without an answer */
static inline void mffa_http_close_p(mffa_http **h) { mffa_http_close(*h); }

/* Why no answer came, or not all of it. */
typedef enum mffa_http_failure {
    MFFA_HTTP_FINE,
    MFFA_HTTP_UNREACHED, /* no connection: nothing was sent */
    MFFA_HTTP_LOST,      /* the connection broke, stalled or ran out of time: it may have been carried out */
    MFFA_HTTP_UNTRUSTED, /* TLS: the certificate, or no common way to talk */
    MFFA_HTTP_REFUSED,   /* the caller's sink failed */
    MFFA_HTTP_DAMAGED,   /* all came, but it is not what was sent: so the caller found */
    MFFA_HTTP_BROKEN     /* the answer is no HTTP, or out of memory */
} mffa_http_failure;

typedef struct mffa_http_answer { /* zero-initialise; mffa_http_answer_done when finished */
    int status;     /* 0: none came */
    mffa_buf headers; /* lines "name: value\n" as they came, of the last answer */
    mffa_buf text;    /* the body of an answer that is no 2xx, its first 64 KiB */
    int64_t length;   /* Content-Length; -1: not said */
    int64_t got;      /* bytes of a 2xx body */
    mffa_http_failure failure;
    mffa_err err;     /* its text: curl's reason, or what the sink failed with */
} mffa_http_answer;
void mffa_http_answer_done(mffa_http_answer *a);
/* The value of a header without blanks around it, copied; "" when absent or longer than room. */
const char *mffa_http_header(const mffa_http_answer *a, const char *name, char *out, size_t room);
/* "Content-Range: bytes 0-9/100" of a 206; false: it has none that makes sense. */
typedef struct mffa_http_range {
    int64_t first, last, total;
} mffa_http_range;
bool mffa_http_read_range(const mffa_http_answer *a, mffa_http_range *out);
/* An HTTP date as Unix time; -1: it is none. */
int64_t mffa_http_date_s(const char *text);

/* Gets a 2xx body piece by piece; at: bytes before this piece. */
typedef mffa_code mffa_http_sink(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err);

typedef struct mffa_http_body {
    const void *bytes; /* in memory; unused with fd */
    int fd;            /* >= 0: read from here, at offset, without moving its position; -1: memory */
    int64_t offset, length;
} mffa_http_body;

typedef struct mffa_http_request { /* everything borrowed until the request is finished */
    const char *method, *url;
    const char *headers; /* lines "name: value\n" */
    const mffa_http_body *body; /* NULL: none */
    mffa_http_sink *sink;       /* NULL: the body is thrown away */
    void *ctx;
    int64_t timeout_ms; /* for all of it */
} mffa_http_request;

/* Begins; mffa_http_wait gives tag back when the answer is complete. */
MFFA_MUST_USE mffa_code mffa_http_start(mffa_http *h, const mffa_http_request *r, mffa_http_answer *a, void *tag, mffa_err *err);
/* The tag of a request that is finished; NULL when none is within timeout_ms. */
void *mffa_http_wait(mffa_http *h, int64_t timeout_ms);
/* Ends every running request without an answer. */
void mffa_http_cancel(mffa_http *h);

#endif

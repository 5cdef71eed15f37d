/* One request to a bucket, from its signature to its final outcome: tried again as retry.h says, many at a time in one thread.
 * Private to storage/s3_*.c. */
#ifndef MFFA_STORAGE_S3_CALL_H
#define MFFA_STORAGE_S3_CALL_H

#include "storage/checksum.h"
#include "storage/s3_client.h"

typedef struct mffa_s3_call mffa_s3_call;

typedef struct mffa_s3 { /* the way to one bucket; of one thread */
    mffa_s3_client *client;
    const char *bucket; /* borrowed */
    mffa_http *http;
    mffa_s3_call *waiting; /* for their next attempt */
    mffa_s3_call *finished;
    int running; /* started and not yet given back by wait */
} mffa_s3;
MFFA_MUST_USE mffa_code mffa_s3_open(mffa_s3_client *c, const char *bucket, mffa_s3 *out, mffa_err *err);
void mffa_s3_close(mffa_s3 *s);

struct mffa_s3_call { /* zero-initialise, set the request, start; mffa_s3_call_done when finished */
    /* the request; all borrowed until it is finished */
    const char *method;
    const char *key;   /* whole, with the store's prefix; NULL: the bucket itself */
    const char *query; /* percent-encoded, without "?"; NULL: none */
    mffa_buf headers;  /* more lines "name: value\n", signed like the others */
    mffa_http_body body; /* length 0 and method GET, HEAD or DELETE: none */
    mffa_http_sink *sink; /* gets the body of a success; NULL: it is collected in text, at most text_max bytes */
    void *ctx;
    size_t text_max;
    bool verify; /* HEAD, or GET with a sink: the object's checksum is asked for; where the whole object comes, it must match */
    /* the outcome */
    mffa_code rc;
    mffa_err err;
    mffa_http_answer answer;
    mffa_buf text;
    char code[64];  /* S3's word for a failure */
    int attempts;
    uint64_t crc;                 /* of a PUT's body, and */
    char sum_text[MFFA_SUM_TEXT]; /* its checksum as it was sent, where MFFA_S3_CHECKSUM asks for one; "": none */
    /* of the engine */
    mffa_s3_call *next;
    mffa_http_request request;
    mffa_buf url, lines;
    char payload[MFFA_SHA256_HEX], key_id[132];
    mffa_checksum sum; /* of the attempt in hand */
    int64_t deadline_ms, wake_ms, began_ms;
    bool clock_repaired, credentials_renewed;
};
void mffa_s3_call_done(mffa_s3_call *c);

/* Its outcome comes from wait; a failure to start too. */
void mffa_s3_start(mffa_s3 *s, mffa_s3_call *c);
/* The next call that is finished, with rc and err set; NULL when none is running. */
mffa_s3_call *mffa_s3_wait(mffa_s3 *s);
/* The same with an end to the waiting: NULL too when none is finished within timeout_ms; 0 lets the others get on and returns. */
mffa_s3_call *mffa_s3_next(mffa_s3 *s, int64_t timeout_ms);
/* start and wait, when nothing else is running. */
MFFA_MUST_USE mffa_code mffa_s3_run(mffa_s3 *s, mffa_s3_call *c, mffa_err *err);
/* Ends all calls that are running; they have no outcome. */
void mffa_s3_abandon(mffa_s3 *s);

/* The headers that every object written shall have: encryption. */
void mffa_s3_put_encryption(const mffa_s3 *s, mffa_buf *headers);

/* s3_error.c: code, rc and err of a call whose answer is a failure, or an error in the clothes of a success. */
void mffa_s3_read_error(mffa_s3_call *c);
void mffa_s3_explain(const mffa_s3 *s, mffa_s3_call *c);

#endif

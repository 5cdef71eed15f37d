/* Objects in a bucket: what the parts of the S3 store share. Private to storage/s3_*.c. Keys are whole here: the store's prefix and the
 * caller's key. */
#ifndef MFFA_STORAGE_S3_STORE_H
#define MFFA_STORAGE_S3_STORE_H

#include "storage/s3_call.h"
#include "storage/store_ops.h"

typedef struct mffa_s3_ahead mffa_s3_ahead;
typedef struct mffa_s3_later mffa_s3_later;

typedef struct mffa_s3_store {
    mffa_store base;
    char *bucket, *prefix; /* prefix: "" or ending in "/" */
    mffa_s3 s3;
    mffa_cache_entry *held; /* what local has promised until close */
    size_t held_count;
    mffa_s3_ahead *ahead; /* NULL: nothing is expected */
    mffa_s3_later *later; /* NULL: nothing was put without waiting */
} mffa_s3_store;

static inline mffa_s3_store *mffa_s3_store_of(mffa_store *s) { return (mffa_s3_store *)s; }

enum { MFFA_S3_ETAG = 256 };
/* The ETag of an answer without its quotes; "" when it gave none. */
void mffa_s3_etag(const mffa_http_answer *a, char out[MFFA_S3_ETAG]);

/* s3_get.c. The content in pieces, in any order and, after a failed attempt, again: each belongs at its offset. */
typedef mffa_code mffa_s3_write(void *ctx, int64_t at, mffa_span piece, mffa_err *err);
typedef struct mffa_s3_facts {
    int64_t bytes;
    char etag[MFFA_S3_ETAG];
    mffa_checksum sum; /* what the server says of it; nothing is computed with it */
} mffa_s3_facts;
/* Large objects come in parts that must all be of the same version: MFFA_EIO when the object changed meanwhile.
 * What does not match the server's checksum is fetched again; then MFFA_EIO. MFFA_EINVAL: more than max_bytes.
 * facts: known from a HEAD just before (else bytes -1), and what the fetch found out. */
MFFA_MUST_USE mffa_code mffa_s3_fetch(mffa_s3_store *s, const char *key, int64_t max_bytes, mffa_s3_write *write, void *ctx,
                                      mffa_s3_facts *facts, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_s3_head(mffa_s3_store *s, const char *key, mffa_s3_facts *out, mffa_err *err);

/* s3_put.c, s3_multipart.c. body: the whole content. */
MFFA_MUST_USE mffa_code mffa_s3_put(mffa_s3_store *s, const char *key, const mffa_http_body *body, mffa_put how, mffa_err *err);
/* A put that is to be recognised afterwards by its mark, when its answer was lost. "" marks none. */
enum { MFFA_S3_MARK = 33 };
void mffa_s3_put_object_headers(const mffa_s3_store *s, const char *key, const char *mark, mffa_buf *headers);
bool mffa_s3_is_ours(mffa_s3_store *s, const char *key, const char *mark);
mffa_code mffa_s3_taken(const mffa_s3_store *s, const char *key, mffa_err *err); /* MFFA_EEXISTS with its sentence */
MFFA_MUST_USE mffa_code mffa_s3_put_parts(mffa_s3_store *s, const char *key, const mffa_http_body *body, mffa_put how, const char *mark,
                                          mffa_err *err);

/* s3_list.c. Every key that starts with `under`, as the server has it. */
typedef mffa_code mffa_s3_each(void *ctx, const char *key, int64_t bytes, const char *etag, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_s3_list(mffa_s3_store *s, const char *under, mffa_s3_each *fn, void *ctx, mffa_err *err);

/* A listed key with %41 and + in it, in place; false: what comes out holds a NUL. */
bool mffa_s3_decode_key(char *text);

/* s3_uploads.c. The uploads that nobody finished, of keys that start with `under`; dead: those it is true for; NULL: all. */
typedef bool mffa_s3_dead(void *ctx, const char *key);
MFFA_MUST_USE mffa_code mffa_s3_end_uploads(mffa_s3_store *s, const char *under, mffa_s3_dead *dead, void *ctx, mffa_err *err);

/* s3_delete.c. The objects whose keys start with `under`, and the uploads that nobody finished. */
MFFA_MUST_USE mffa_code mffa_s3_remove(mffa_s3_store *s, const char *key, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_s3_remove_all(mffa_s3_store *s, const char *under, mffa_err *err);

#endif

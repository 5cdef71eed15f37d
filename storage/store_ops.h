/* What a kind of store implements; seen by store.c and the kinds alone.
 * store.c has checked every key (mffa_key_check) and prefix before a call arrives here. A kind's own struct starts with
 * struct mffa_store, whose url store.c sets after open and frees before close. */
#ifndef MFFA_STORAGE_STORE_OPS_H
#define MFFA_STORAGE_STORE_OPS_H

#include "storage/store.h"
#include "storage/url.h"

typedef struct mffa_store_ops {
    mffa_code (*list)(mffa_store *s, const char *under, mffa_store_each *fn, void *ctx, mffa_err *err);
    mffa_code (*head)(mffa_store *s, const char *key, int64_t *bytes, char **etag, mffa_err *err);
    mffa_code (*get)(mffa_store *s, const char *key, int64_t max_bytes, mffa_buf *out, mffa_err *err);
    mffa_code (*local)(mffa_store *s, const char *key, char **path, mffa_err *err);
    mffa_code (*put)(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err);
    mffa_code (*put_file)(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err);
    /* NULL: nothing to do, or put and put_file do it */
    mffa_code (*expect)(mffa_store *s, const mffa_object *objects, size_t count, mffa_err *err);
    mffa_code (*warm)(mffa_store *s, int64_t max_bytes, bool (*go_on)(void *ctx), void *ctx, mffa_err *err);
    mffa_code (*put_soon)(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err);
    mffa_code (*put_file_soon)(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err);
    mffa_code (*settle)(mffa_store *s, mffa_err *err);
    mffa_code (*remove)(mffa_store *s, const char *key, mffa_err *err);
    mffa_code (*remove_all)(mffa_store *s, const char *under, mffa_err *err);
    mffa_code (*end_uploads)(mffa_store *s, const char *under, mffa_store_dead *dead, void *ctx, mffa_err *err);
    mffa_code (*presign)(mffa_store *s, const char *key, int64_t expires_s, mffa_buf *out, mffa_err *err);
    void (*close)(mffa_store *s);
} mffa_store_ops;

struct mffa_store {
    const mffa_store_ops *ops;
    char *url;
};

/* The kinds. */
MFFA_MUST_USE mffa_code mffa_file_store_open(const mffa_url *url, mffa_store **out, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_s3_store_open(const mffa_url *url, mffa_store **out, mffa_err *err);

#endif

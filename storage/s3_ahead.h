/* Objects that will be read soon, fetched into the cache several at a time, each in the version that was listed. Nothing runs in the
 * background: whoever asks for one object moves the others along, and what the server sends meanwhile waits in the sockets. So a data set
 * of small objects costs one wait for the first of them, not one for each. Private to storage/s3_*.c; of one thread. */
#ifndef MFFA_STORAGE_S3_AHEAD_H
#define MFFA_STORAGE_S3_AHEAD_H

#include "storage/s3_store.h"

/* objects: in the order in which they will be read; keys are relative to prefix. Those of more than one part are left out. bucket and
 * prefix stay with the caller. */
MFFA_MUST_USE mffa_code mffa_s3_ahead_open(mffa_s3_client *c, const char *bucket, const char *prefix, const mffa_object *objects,
                                           size_t count, mffa_s3_ahead **out, mffa_err *err);
void mffa_s3_ahead_close(mffa_s3_ahead *a);

/* All of them, of max_bytes in all, while go_on(ctx) says so. */
void mffa_s3_ahead_run(mffa_s3_ahead *a, int64_t max_bytes, bool (*go_on)(void *ctx), void *ctx);

/* Its copy, waited for where it is on its way; false: it is none of these, or cannot be had this way. key: relative to prefix. */
bool mffa_s3_ahead_find(mffa_s3_ahead *a, const char *key, mffa_cache_entry *out);

#endif

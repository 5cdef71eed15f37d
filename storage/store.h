/* Objects under a URL: the interface that file:// and s3:// share.
 * A store is opened on a prefix; keys are relative to it, separated by "/", without empty, "." or ".." segments (refused with
 * MFFA_EDENIED). Errors name URL and key. A put is atomic: other readers see the old object, or the whole new one.
 * A store belongs to one thread at a time. */
#ifndef MFFA_STORAGE_STORE_H
#define MFFA_STORAGE_STORE_H

#include <stdint.h>
#include "core/base/buf.h"
#include "core/base/config.h"
#include "core/base/progress.h"

typedef struct mffa_store mffa_store;

/* The settings of s3:// for all stores of this process; before other threads start, and again only while no store is open.
 * cache_folder: where copies of objects lie (cache.h). MFFA_EINVAL names the setting. teardown frees it. */
MFFA_MUST_USE mffa_code mffa_store_setup(const mffa_config *c, const char *cache_folder, mffa_err *err);
void mffa_store_teardown(void);

/* url: file:///absolute/dir or s3://bucket/prefix. Opening does not touch the network or the disk. MFFA_EINVAL: not a URL that
 * is known; MFFA_EBUG: s3:// before mffa_store_setup. */
MFFA_MUST_USE mffa_code mffa_store_open(const char *url, mffa_store **out, mffa_err *err);
void mffa_store_close(mffa_store *s);
static inline void mffa_store_close_p(mffa_store **s) { mffa_store_close(*s); }
const char *mffa_store_url(const mffa_store *s); /* without trailing slash */

typedef struct mffa_object {
    const char *key; /* borrowed during the call */
    int64_t bytes;
    const char *etag; /* opaque version: changes when the object does (file://: size, mtime and inode) */
} mffa_object;

/* Calls fn for every object whose key starts with `under` ("" for all), sorted by the key's bytes; stops at fn's first failure.
 * A missing prefix is an empty list. */
typedef mffa_code mffa_store_each(void *ctx, const mffa_object *object, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_store_list(mffa_store *s, const char *under, mffa_store_each *fn, void *ctx, mffa_err *err);

/* MFFA_ENOTFOUND when absent. etag may be NULL; else freed by the caller. */
MFFA_MUST_USE mffa_code mffa_store_head(mffa_store *s, const char *key, int64_t *bytes, char **etag, mffa_err *err);
/* The whole object, appended to out; MFFA_EINVAL when it has more than max_bytes. */
MFFA_MUST_USE mffa_code mffa_store_get(mffa_store *s, const char *key, int64_t max_bytes, mffa_buf *out, mffa_err *err);
/* A local path with the object's content: the file itself for file://, else a cached copy. *path is freed by the caller; the
 * content stays valid until the store is closed. */
MFFA_MUST_USE mffa_code mffa_store_local(mffa_store *s, const char *key, char **path, mffa_err *err);

/* These objects will be read, in about this order: get and local may fetch them several at a time, each in the version of its etag, and
 * keep copies. What is not taken in this way is read as ever. Takes the place of an earlier call's. Copied. file://: nothing to do. */
MFFA_MUST_USE mffa_code mffa_store_expect(mffa_store *s, const mffa_object *objects, size_t count, mffa_err *err);

/* Fetches copies of what is expected and not here yet, in that order, of max_bytes in all, while go_on(ctx) says so. What cannot be had is
 * left out. */
MFFA_MUST_USE mffa_code mffa_store_warm(mffa_store *s, int64_t max_bytes, bool (*go_on)(void *ctx), void *ctx, mffa_err *err);

typedef enum mffa_put { MFFA_PUT_REPLACE, MFFA_PUT_NEW } mffa_put; /* NEW: MFFA_EEXISTS when the key is taken */
MFFA_MUST_USE mffa_code mffa_store_put(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err);
/* From a local file of any size. */
MFFA_MUST_USE mffa_code mffa_store_put_file(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err);
/* The same without waiting, several at a time; what fails is said by one of the next calls, by settle at the latest. Until then a reader
 * may see nothing yet. Bytes are copied; a file is not to change before. */
MFFA_MUST_USE mffa_code mffa_store_put_soon(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_store_put_file_soon(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_store_settle(mffa_store *s, mffa_err *err);
/* Deleting what is absent is fine. */
MFFA_MUST_USE mffa_code mffa_store_delete(mffa_store *s, const char *key, mffa_err *err);
/* Everything whose key starts with `under` (not ""). */
MFFA_MUST_USE mffa_code mffa_store_delete_all(mffa_store *s, const char *under, mffa_err *err);
/* Removes what writers that were killed left unfinished (multipart uploads; temporary files) of keys that start with `under` (not ""),
 * where `dead` says that nobody writes any more. For file:// the last segment of such a key is a temporary name. S3 credentials that may
 * not list uploads find none. */
typedef bool mffa_store_dead(void *ctx, const char *key);
MFFA_MUST_USE mffa_code mffa_store_end_uploads(mffa_store *s, const char *under, mffa_store_dead *dead, void *ctx, mffa_err *err);
/* A URL that anyone can GET the object with for expires_s seconds (1 to 604800), appended to out. The object need not exist.
 * MFFA_EUNSUPPORTED: file:// has none. */
MFFA_MUST_USE mffa_code mffa_store_presign(mffa_store *s, const char *key, int64_t expires_s, mffa_buf *out, mffa_err *err);

#endif

/* Copies of objects on this disk, found by what they are: a name made of bucket, key and version, so that an entry is never stale.
 * One folder serves many processes. Entries in use are locked (flock), so that nobody evicts them and a kill frees them; beyond the
 * bound those that were used longest ago go first. Thread-safe. */
#ifndef MFFA_STORAGE_CACHE_H
#define MFFA_STORAGE_CACHE_H

#include <stdint.h>
#include "core/base/buf.h"

typedef struct mffa_cache mffa_cache;
/* folder: made when first needed, readable by its owner alone. max_bytes: what is kept of entries that nobody uses. */
MFFA_MUST_USE mffa_code mffa_cache_open(const char *folder, int64_t max_bytes, mffa_cache **out, mffa_err *err);
void mffa_cache_close(mffa_cache *c);

typedef struct mffa_cache_entry { /* holds its file in place; zero-initialise with fd -1 */
    char *path;
    int fd;
} mffa_cache_entry;
void mffa_cache_release(mffa_cache_entry *e);

/* Whether there is one; it may be gone a moment later, and is not counted as used. */
bool mffa_cache_has(mffa_cache *c, const char *bucket, const char *key, const char *etag);
/* The entry of this content; false: not there. */
bool mffa_cache_find(mffa_cache *c, const char *bucket, const char *key, const char *etag, mffa_cache_entry *out);
/* A file to write a new entry into: out->fd is open for writing, the entry has no name yet. */
MFFA_MUST_USE mffa_code mffa_cache_begin(mffa_cache *c, mffa_cache_entry *out, mffa_err *err);
/* A piece of it, in any order. MFFA_ENOSPC, MFFA_EIO. */
MFFA_MUST_USE mffa_code mffa_cache_write(const mffa_cache_entry *e, int64_t at, mffa_span piece, mffa_err *err);
/* Not finished: the file goes. */
void mffa_cache_drop(mffa_cache_entry *e);
/* The finished file becomes the entry of this content, and room is made for it. On failure the file is gone. */
MFFA_MUST_USE mffa_code mffa_cache_keep(mffa_cache *c, const char *bucket, const char *key, const char *etag, mffa_cache_entry *e,
                                        mffa_err *err);

#endif

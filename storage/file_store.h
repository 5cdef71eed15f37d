/* Objects as files below a folder: what the parts of the file store share. Private to storage/file_*.c.
 * Everything that is opened is checked to lie below the folder after links were followed, on the opened descriptor. */
#ifndef MFFA_STORAGE_FILE_STORE_H
#define MFFA_STORAGE_FILE_STORE_H

#include <sys/stat.h>
#include "storage/store_ops.h"

typedef struct mffa_file_store {
    mffa_store base;
    char *root; /* absolute folder; need not exist yet */
} mffa_file_store;

static inline mffa_file_store *mffa_file_store_of(mffa_store *s) { return (mffa_file_store *)s; }

/* Names of half-written objects; never listed. */
#define MFFA_TEMP_PREFIX ".mffa-tmp-"

/* What an errno means for the caller; text: "<doing> "<url>/<key>": <reason>". */
mffa_code mffa_file_fail(const mffa_file_store *s, const char *key, const char *doing, int error, mffa_err *err);
/* The folder with links followed; freed by the caller. MFFA_ENOTFOUND while it does not exist. */
MFFA_MUST_USE mffa_code mffa_file_real_root(const mffa_file_store *s, char **out, mffa_err *err);
/* MFFA_EDENIED when fd is not real_root or below it. */
MFFA_MUST_USE mffa_code mffa_file_check_inside(const mffa_file_store *s, const char *real_root, const char *key, int fd, mffa_err *err);
/* An open regular file. */
MFFA_MUST_USE mffa_code mffa_file_open(const mffa_file_store *s, const char *key, int *fd, struct stat *st, mffa_err *err);
/* The folder that the key's last segment lies in, opened; name: that segment, borrowed from key. create: make what is missing,
 * else MFFA_ENOTFOUND. */
MFFA_MUST_USE mffa_code mffa_file_open_folder(const mffa_file_store *s, const char *key, bool create, int *folder, const char **name,
                                              mffa_err *err);
/* The opaque version, freed by the caller; NULL out of memory. */
char *mffa_file_etag(const struct stat *st);

mffa_code mffa_file_list(mffa_store *s, const char *under, mffa_store_each *fn, void *ctx, mffa_err *err);
mffa_code mffa_file_remove_all(mffa_store *s, const char *under, mffa_err *err);
mffa_code mffa_file_end_uploads(mffa_store *s, const char *under, mffa_store_dead *dead, void *ctx, mffa_err *err);
mffa_code mffa_file_put(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err);
mffa_code mffa_file_put_file(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err);

#endif

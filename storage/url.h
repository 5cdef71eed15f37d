/* URLs of objects and prefixes, and which of them jobs may name. */
#ifndef MFFA_STORAGE_URL_H
#define MFFA_STORAGE_URL_H

#include "core/base/buf.h"

typedef enum mffa_scheme { MFFA_FILE, MFFA_S3 } mffa_scheme;
typedef struct mffa_url {
    mffa_scheme scheme;
    char *bucket; /* s3 only */
    char *path;   /* file: absolute directory; s3: prefix without leading or trailing slash, may be "" */
} mffa_url;

/* s3://bucket/prefix or file:///absolute/path. MFFA_EINVAL says what a URL looks like. Percent signs are literal. */
MFFA_MUST_USE mffa_code mffa_url_parse(const char *text, mffa_url *out, mffa_err *err);
void mffa_url_done(mffa_url *u);
/* base + "/" + key; freed by the caller; NULL out of memory. */
char *mffa_url_join(const char *base, const char *key);
/* A key that stays below its prefix: no empty, "." or ".." segment, no leading slash, no NUL or control bytes, at most 1024 bytes. */
MFFA_MUST_USE mffa_code mffa_key_check(const char *key, mffa_err *err);
/* allowed: comma-separated URL prefixes (a prefix ends at a "/" boundary), NULL: every s3://, no file://.
 * MFFA_EDENIED names the URL and MFFA_ALLOWED_URLS. ".." segments never match. */
MFFA_MUST_USE mffa_code mffa_url_allowed(const char *url, const char *allowed, mffa_err *err);

#endif

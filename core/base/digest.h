/* SHA-256, over libcrypto: the hash of manifests, weights and signed requests; and what else S3 wants of libcrypto. */
#ifndef MFFA_CORE_BASE_DIGEST_H
#define MFFA_CORE_BASE_DIGEST_H

#include "core/base/buf.h"

enum { MFFA_SHA256_HEX = 65 }; /* 64 lower-case hex digits and NUL */

typedef struct mffa_sha256 mffa_sha256; /* a running hash; one thread at a time */
MFFA_MUST_USE mffa_code mffa_sha256_open(mffa_sha256 **out, mffa_err *err);
void mffa_sha256_add(mffa_sha256 *h, const void *bytes, size_t len);
void mffa_sha256_hex(mffa_sha256 *h, char out[MFFA_SHA256_HEX]); /* ends the hash; only close is allowed after it */
void mffa_sha256_close(mffa_sha256 *h);
static inline void mffa_sha256_close_p(mffa_sha256 **h) { mffa_sha256_close(*h); }

MFFA_MUST_USE mffa_code mffa_sha256_of(mffa_span bytes, char out[MFFA_SHA256_HEX], mffa_err *err);
/* Reads the file in bounded pieces. MFFA_ENOTFOUND, MFFA_EIO name the path. */
MFFA_MUST_USE mffa_code mffa_sha256_file(const char *path, char out[MFFA_SHA256_HEX], mffa_err *err);

enum { MFFA_SHA256_BYTES = 32 };
MFFA_MUST_USE mffa_code mffa_hmac_sha256(mffa_span key, mffa_span text, unsigned char out[MFFA_SHA256_BYTES], mffa_err *err);

/* out: 4 characters for each 3 bytes or less, and NUL. */
void mffa_base64(mffa_span bytes, char *out);

/* S3 knows a body's hash in base64. MD5 guards against accidents only; MFFA_EUNSUPPORTED where the system forbids it. */
enum { MFFA_SHA256_BASE64 = 45, MFFA_MD5_BASE64 = 25 }; /* with NUL */
MFFA_MUST_USE mffa_code mffa_sha256_base64(const char hex[MFFA_SHA256_HEX], char out[MFFA_SHA256_BASE64], mffa_err *err);
MFFA_MUST_USE mffa_code mffa_md5_base64(mffa_span bytes, char out[MFFA_MD5_BASE64], mffa_err *err);

#endif

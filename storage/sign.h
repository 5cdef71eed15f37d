/* AWS Signature Version 4, over the bytes that are sent.
 * path and query are given percent-encoded, as they stand in the request line; headers as lines "name: value\n", each as it is sent.
 * Every header that is given is signed. The time, the payload's hash and a session token are headers of the request (S3 wants
 * x-amz-date, x-amz-content-sha256, x-amz-security-token) and are added by the caller before it signs.
 * Source: "AWS Signature Version 4 for API requests" (AWS IAM User Guide) with the single encoding of paths that S3 uses. */
#ifndef MFFA_STORAGE_SIGN_H
#define MFFA_STORAGE_SIGN_H

#include "core/base/digest.h"

typedef struct mffa_signer {
    const char *key_id, *secret;
    const char *token; /* of a session; NULL: none. Used by mffa_sign_url alone */
    const char *region, *service;
    int64_t time_s; /* Unix epoch, by the server's clock */
} mffa_signer;

enum { MFFA_SIGN_TIME = 17, MFFA_SIGN_HEADERS_MAX = 48, MFFA_SIGN_QUERY_MAX = 48 };
/* "20130524T000000Z" */
void mffa_sign_time(int64_t time_s, char out[MFFA_SIGN_TIME]);
/* text percent-encoded, everything but A-Z a-z 0-9 - . _ ~ (and "/" where it is kept), appended to out. */
void mffa_sign_encode(mffa_buf *out, const char *text, bool keep_slash);

/* The value of the header Authorization, appended to out. payload_sha256: hex, or UNSIGNED-PAYLOAD.
 * MFFA_EINVAL: a header line without colon, or more headers or query fields than the maxima above. */
MFFA_MUST_USE mffa_code mffa_sign_headers(const mffa_signer *s, const char *method, const char *path, const char *query,
                                          const char *headers, const char *payload_sha256, mffa_buf *out, mffa_err *err);
/* The query of a URL that carries its own permission for expires_s seconds (at most 604800), without "?", appended to out. */
MFFA_MUST_USE mffa_code mffa_sign_url(const mffa_signer *s, const char *method, const char *host, const char *path, const char *query,
                                      int64_t expires_s, mffa_buf *out, mffa_err *err);

#endif

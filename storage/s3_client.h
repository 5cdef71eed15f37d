/* What every s3:// store of the process shares: the settings, the credentials, the retry budget, the server's clock, the cache.
 * Private to storage/s3_*.c. Read-only after mffa_store_setup, but for what is marked. */
#ifndef MFFA_STORAGE_S3_CLIENT_H
#define MFFA_STORAGE_S3_CLIENT_H

#include <stdatomic.h>
#include "core/base/config.h"
#include "storage/cache.h"
#include "storage/checksum.h"
#include "storage/credentials.h"
#include "storage/http.h"
#include "storage/retry.h"

typedef struct mffa_s3_client {
    char *scheme, *host; /* "https", "s3.eu-west-1.amazonaws.com" (with ":port" where it is not the scheme's own) */
    char *region, *ca_file, *sse, *kms_key;
    bool path_style, requester_pays, conditional;
    mffa_sum checksum; /* sent with what is put */
    mffa_http_options http;
    int concurrency;
    int64_t part_bytes, deadline_ms;
    mffa_credentials_source *credentials;
    mffa_cache *cache;
    mffa_retry_budget budget;
    atomic_llong skew_s;            /* the server's clock minus ours, once it refused a request for its time */
    atomic_bool conditional_proven; /* the server was seen to refuse a put on a taken key */
} mffa_s3_client;

/* NULL before mffa_store_setup. */
mffa_s3_client *mffa_s3_shared(void);

/* The host that a bucket is asked at, and the path in front of its keys: "/bucket" or "". Appended. */
void mffa_s3_place(const mffa_s3_client *c, const char *bucket, mffa_buf *host, mffa_buf *path);

#endif

#include "storage/s3_client.h"

#include <ctype.h>
#include <string.h>
#include "core/base/log.h"
#include "storage/store.h"

static mffa_s3_client *shared;

mffa_s3_client *mffa_s3_shared(void) { return shared; }

static void client_close(mffa_s3_client *c) {
    if (!c) return;
    free(c->scheme);
    free(c->host);
    free(c->region);
    free(c->ca_file);
    free(c->sse);
    free(c->kms_key);
    mffa_credentials_close(c->credentials);
    mffa_cache_close(c->cache);
    free(c);
}

static void client_close_p(mffa_s3_client **c) { client_close(*c); }

/* The first that is set: our own setting, then the environment variables that AWS programs know. */
static const char *first_of(const char *own, const char *const names[]) {
    if (own) return own;
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && *value) return value;
    }
    return NULL;
}

static mffa_code bad_endpoint(const char *url, const char *why, mffa_err *err) {
    return mffa_fail(err, MFFA_EINVAL, "MFFA_S3_ENDPOINT=\"%.200s\" %s: expected https://host or http://host:port", url, why);
}

static mffa_code read_endpoint(mffa_s3_client *c, const char *url, mffa_err *err) {
    bool tls = strncasecmp(url, "https://", 8) == 0;
    if (!tls && strncasecmp(url, "http://", 7) != 0) return bad_endpoint(url, "is no URL", err);
    const char *host = url + (tls ? 8 : 7);
    size_t n = strcspn(host, "/?#");
    const char *rest = host + n + (host[n] == '/');
    const char *standard = tls ? ":443" : ":80";
    if (n == 0 || *rest) return bad_endpoint(url, n == 0 ? "names no host" : "has a path", err);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr(".-:[]_", host[i]))
            return bad_endpoint("...", "has characters that no host has", err);
    size_t s = strlen(standard);
    if (n > s && memcmp(host + n - s, standard, s) == 0) n -= s;
    c->scheme = strdup(tls ? "https" : "http");
    c->host = strndup(host, n);
    return c->scheme && c->host ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

static mffa_code find_endpoint(mffa_s3_client *c, const mffa_config *s, mffa_err *err) {
    const char *region = first_of(s->s3_region, (const char *const[]){"AWS_REGION", "AWS_DEFAULT_REGION", NULL});
    const char *endpoint = first_of(s->s3_endpoint, (const char *const[]){"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", NULL});
    char amazon[160];
    c->region = strdup(region ? region : "us-east-1");
    if (!c->region) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (const char *at = c->region; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
            return mffa_fail(err, MFFA_EINVAL, "MFFA_S3_REGION=\"%.80s\" is no region: expected a word such as eu-west-1", c->region);
    snprintf(amazon, sizeof amazon, "https://s3.%.100s.amazonaws.com%s", c->region, strncmp(c->region, "cn-", 3) == 0 ? ".cn" : "");
    c->path_style = strcmp(s->s3_style, "path") == 0 || (strcmp(s->s3_style, "auto") == 0 && endpoint);
    return read_endpoint(c, endpoint ? endpoint : amazon, err);
}

static bool copy_texts(mffa_s3_client *c, const mffa_config *s) {
    const char *ca = first_of(s->s3_ca_file, (const char *const[]){"AWS_CA_BUNDLE", NULL});
    c->ca_file = ca ? strdup(ca) : NULL;
    c->sse = s->s3_sse ? strdup(s->s3_sse) : NULL;
    c->kms_key = s->s3_kms_key ? strdup(s->s3_kms_key) : NULL;
    return (c->ca_file || !ca) && (c->sse || !s->s3_sse) && (c->kms_key || !s->s3_kms_key);
}

static mffa_code client_open(const mffa_config *s, const char *cache_folder, mffa_s3_client **out, mffa_err *err) {
    MFFA_AUTO(client_close_p) mffa_s3_client *c = calloc(1, sizeof *c);
    if (!c || !copy_texts(c, s)) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = find_endpoint(c, s, err);
    if (!rc) rc = mffa_credentials_open(c->region, &c->credentials, err);
    if (!rc) rc = mffa_cache_open(cache_folder, s->cache_bytes, &c->cache, err);
    if (rc) return rc;
    c->budget = (mffa_retry_budget)MFFA_RETRY_BUDGET;
    c->requester_pays = strcmp(s->s3_requester_pays, "on") == 0;
    c->conditional = strcmp(s->s3_conditional, "on") == 0;
    for (int k = 0; k < MFFA_SUM_COUNT; k++)
        if (strcmp(s->s3_checksum, mffa_sum_name((mffa_sum)k)) == 0) c->checksum = (mffa_sum)k; /* none has another name: off */
    c->concurrency = (int)s->s3_concurrency, c->part_bytes = s->s3_part_bytes, c->deadline_ms = s->s3_deadline_ms;
    c->http = (mffa_http_options){.ca_file = c->ca_file,
                                  .unverified = strcmp(s->s3_verify, "off") == 0,
                                  .connections = c->concurrency,
                                  .bytes_per_s = s->s3_bytes_per_s,
                                  .connect_ms = s->s3_connect_ms,
                                  .stall_ms = s->s3_stall_ms};
    *out = MFFA_TAKE(c);
    return MFFA_OK;
}

mffa_code mffa_store_setup(const mffa_config *s, const char *cache_folder, mffa_err *err) {
    mffa_s3_client *c = NULL;
    mffa_code rc = client_open(s, cache_folder, &c, err);
    if (rc) return rc;
    if (c->http.unverified)
        mffa_log(MFFA_WARN, "s3.unverified", mffa_str("text", "MFFA_S3_VERIFY=off: whoever answers is believed, and gets signed requests"));
    client_close(shared);
    shared = c;
    return MFFA_OK;
}

void mffa_store_teardown(void) { client_close(MFFA_TAKE(shared)); }

void mffa_s3_place(const mffa_s3_client *c, const char *bucket, mffa_buf *host, mffa_buf *path) {
    bool one_name = !strchr(bucket, '.') || strcmp(c->scheme, "http") == 0; /* a certificate for *.s3.x covers no dot */
    if (c->path_style || !one_name) mffa_buf_puts(host, c->host), mffa_buf_putf(path, "/%s", bucket);
    else mffa_buf_putf(host, "%s.%s", bucket, c->host);
}

#include <string.h>
#include <strings.h>
#include "core/base/rng.h"
#include "storage/s3_store.h"

enum { SMALL = 1 << 20 };

static const char *content_type(const char *key) {
    static const struct { const char *ending, *type; } types[] = {
        {".json", "application/json"}, {".html", "text/html; charset=utf-8"}, {".png", "image/png"}, {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},       {".bmp", "image/bmp"},                 {".msgpack", "application/vnd.msgpack"},
    };
    const char *dot = strrchr(key, '.');
    for (size_t i = 0; dot && i < MFFA_COUNT(types); i++)
        if (strcasecmp(dot, types[i].ending) == 0) return types[i].type;
    return "application/octet-stream";
}

void mffa_s3_put_object_headers(const mffa_s3_store *s, const char *key, const char *mark, mffa_buf *headers) {
    mffa_buf_putf(headers, "Content-Type: %s\n", content_type(key));
    if (*mark) mffa_buf_putf(headers, "x-amz-meta-mffa-put: %s\n", mark);
    mffa_s3_put_encryption(&s->s3, headers);
}

bool mffa_s3_is_ours(mffa_s3_store *s, const char *key, const char *mark) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "HEAD", .key = key};
    char found[MFFA_S3_MARK];
    return *mark && mffa_s3_run(&s->s3, &c, NULL) == MFFA_OK &&
           strcmp(mffa_http_header(&c.answer, "x-amz-meta-mffa-put", found, sizeof found), mark) == 0;
}

mffa_code mffa_s3_taken(const mffa_s3_store *s, const char *key, mffa_err *err) {
    return mffa_fail(err, MFFA_EEXISTS, "\"s3://%s/%s\" exists already", s->bucket, key);
}

static mffa_code put_once(mffa_s3_store *s, const char *key, const mffa_http_body *body, bool only_new, const char *mark, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "PUT", .key = key, .body = *body, .text_max = 1 << 16};
    mffa_s3_put_object_headers(s, key, mark, &c.headers);
    if (only_new) mffa_buf_puts(&c.headers, "If-None-Match: *\n");
    mffa_code rc = mffa_s3_run(&s->s3, &c, err);
    if (rc != MFFA_EEXISTS) return rc;
    /* an attempt whose answer was lost, ours or one that curl made by itself on a dead connection, may be what took the key */
    return mffa_s3_is_ours(s, key, mark) ? MFFA_OK : mffa_s3_taken(s, key, err);
}

/* A server that ignores If-None-Match would let two workers overwrite each other in silence. The same content once more shows it. */
static mffa_code prove_conditional(mffa_s3_store *s, const char *key, const mffa_http_body *body, mffa_err *err) {
    mffa_s3_client *client = s->s3.client;
    if (atomic_load(&client->conditional_proven) || body->length > SMALL) return MFFA_OK;
    mffa_code rc = put_once(s, key, body, true, "", err);
    if (rc == MFFA_EEXISTS) return atomic_store(&client->conditional_proven, true), MFFA_OK;
    if (rc) return rc;
    return mffa_fail(err, MFFA_EUNSUPPORTED,
                     "\"s3://%s/%s\": %s ignores If-None-Match, so that an object could be overwritten unnoticed; "
                     "MFFA_S3_CONDITIONAL=off accepts that",
                     s->bucket, key, client->host);
}

static mffa_code refuse_taken(mffa_s3_store *s, const char *key, mffa_err *err) {
    mffa_s3_facts facts;
    mffa_err why = {0};
    mffa_code rc = mffa_s3_head(s, key, &facts, &why);
    if (rc == MFFA_ENOTFOUND) return MFFA_OK;
    return rc ? mffa_fail(err, rc, "%s", why.msg) : mffa_s3_taken(s, key, err);
}

mffa_code mffa_s3_put(mffa_s3_store *s, const char *key, const mffa_http_body *body, mffa_put how, mffa_err *err) {
    const mffa_s3_client *client = s->s3.client;
    char mark[MFFA_S3_MARK] = "";
    bool parts = body->length > client->part_bytes, conditional = how == MFFA_PUT_NEW && client->conditional;
    mffa_code rc = how == MFFA_PUT_NEW || parts ? mffa_random_hex(mark, 16, err) : MFFA_OK;
    /* before megabytes are sent: a server that refuses them hangs up at once, and then its answer may be lost */
    if (!rc && how == MFFA_PUT_NEW && (body->length > SMALL || !conditional)) rc = refuse_taken(s, key, err);
    if (rc) return rc;
    if (parts) return mffa_s3_put_parts(s, key, body, how, mark, err);
    rc = put_once(s, key, body, conditional, mark, err);
    return rc || !conditional ? rc : prove_conditional(s, key, body, err);
}

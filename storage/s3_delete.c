#include <string.h>
#include "storage/s3_store.h"
#include "storage/xml.h"

enum { BATCH = 1000, ANSWER_MAX = 4 << 20 };

mffa_code mffa_s3_remove(mffa_s3_store *s, const char *key, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "DELETE", .key = key, .text_max = 1 << 16};
    mffa_err why = {0};
    mffa_code rc = mffa_s3_run(&s->s3, &c, &why);
    if (!rc || (rc == MFFA_ENOTFOUND && strcmp(c.code, "NoSuchBucket") != 0)) return MFFA_OK;
    return mffa_fail(err, rc, "%s", why.msg);
}

/* ---- many at once ---- */

typedef struct batch {
    mffa_s3_store *store;
    mffa_buf xml;
    int count;
} batch;

typedef struct refusal { /* the first of an answer */
    char key[256], code[64];
    char last_key[256], last_code[64];
} refusal;

static mffa_code note_refusal(void *ctx, const char *path, const char *text, mffa_err *err) {
    refusal *r = ctx;
    (void)err;
    if (strcmp(path, "DeleteResult/Error/Key") == 0) snprintf(r->last_key, sizeof r->last_key, "%s", text);
    if (strcmp(path, "DeleteResult/Error/Code") == 0) snprintf(r->last_code, sizeof r->last_code, "%s", text);
    if (strcmp(path, "DeleteResult/Error") != 0 || *r->code || strcmp(r->last_code, "NoSuchKey") == 0) return MFFA_OK;
    memcpy(r->key, r->last_key, sizeof r->key);
    snprintf(r->code, sizeof r->code, "%s", *r->last_code ? r->last_code : "unknown");
    return MFFA_OK;
}

static mffa_code send_batch(batch *b, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "POST", .query = "delete=", .text_max = ANSWER_MAX};
    char md5[MFFA_MD5_BASE64];
    refusal r = {0};
    if (b->count == 0) return MFFA_OK;
    mffa_buf_puts(&b->xml, "</Delete>");
    mffa_code rc = mffa_buf_check(&b->xml, err);
    if (!rc) rc = mffa_md5_base64(mffa_buf_span(&b->xml), md5, err);
    if (rc) return rc;
    mffa_buf_putf(&c.headers, "Content-MD5: %s\nContent-Type: application/xml\n", md5);
    c.body = (mffa_http_body){b->xml.ptr, -1, 0, (int64_t)b->xml.len};
    rc = mffa_s3_run(&b->store->s3, &c, err);
    if (!rc) rc = mffa_xml_read(mffa_buf_span(&c.text), note_refusal, &r, err);
    mffa_buf_clear(&b->xml);
    b->count = 0;
    if (rc || !*r.code) return rc;
    return mffa_fail(err, strcmp(r.code, "AccessDenied") == 0 ? MFFA_EDENIED : MFFA_EIO, "\"s3://%s/%s\" could not be deleted: %s",
                     b->store->bucket, r.key, r.code);
}

static bool fits_xml(const char *key) {
    for (; *key; key++)
        if ((unsigned char)*key < 0x20) return false;
    return true;
}

static mffa_code add(void *ctx, const char *key, int64_t bytes, const char *etag, mffa_err *err) {
    batch *b = ctx;
    (void)bytes, (void)etag;
    if (!fits_xml(key)) return mffa_s3_remove(b->store, key, err);
    if (b->count == 0) mffa_buf_puts(&b->xml, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
    mffa_buf_puts(&b->xml, "<Object><Key>");
    mffa_xml_quote(&b->xml, key);
    mffa_buf_puts(&b->xml, "</Key></Object>");
    return ++b->count == BATCH ? send_batch(b, err) : MFFA_OK;
}

mffa_code mffa_s3_remove_all(mffa_s3_store *s, const char *under, mffa_err *err) {
    batch b = {.store = s};
    mffa_code rc = mffa_s3_list(s, under, add, &b, err);
    if (!rc) rc = send_batch(&b, err);
    mffa_buf_done(&b.xml);
    return rc ? rc : mffa_s3_end_uploads(s, under, NULL, NULL, err);
}

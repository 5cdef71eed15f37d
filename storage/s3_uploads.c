/* Multipart uploads that nobody finished: their parts take room, and no list of objects shows them. */
#include <string.h>
#include "storage/s3_store.h"
#include "storage/sign.h"
#include "storage/xml.h"

enum { ANSWER_MAX = 4 << 20, PAGES_MAX = 10000 };

typedef struct page {
    mffa_buf found, key, id; /* found: key and encoded id, NUL-terminated, one after the other */
    mffa_buf next_key, next_id; /* encoded */
    bool more;
} page;

static void page_done(page *p) {
    mffa_buf_done(&p->found);
    mffa_buf_done(&p->key);
    mffa_buf_done(&p->id);
    mffa_buf_done(&p->next_key);
    mffa_buf_done(&p->next_id);
}

static void set_encoded(mffa_buf *out, const char *text) { mffa_buf_clear(out), mffa_sign_encode(out, text, false); }

static mffa_code note(void *ctx, const char *path, const char *text, mffa_err *err) {
    static const char root[] = "ListMultipartUploadsResult/";
    page *p = ctx;
    if (strncmp(path, root, sizeof root - 1) != 0) return MFFA_OK;
    path += sizeof root - 1;
    if (strcmp(path, "Upload/Key") == 0) mffa_buf_clear(&p->key), mffa_buf_puts(&p->key, text);
    else if (strcmp(path, "Upload/UploadId") == 0) set_encoded(&p->id, text);
    else if (strcmp(path, "NextKeyMarker") == 0) set_encoded(&p->next_key, text);
    else if (strcmp(path, "NextUploadIdMarker") == 0) set_encoded(&p->next_id, text);
    else if (strcmp(path, "IsTruncated") == 0) p->more = strcmp(text, "true") == 0;
    else if (strcmp(path, "Upload") == 0) {
        mffa_buf_put(&p->found, mffa_buf_text(&p->key), p->key.len + 1);
        mffa_buf_put(&p->found, mffa_buf_text(&p->id), p->id.len + 1);
        mffa_buf_clear(&p->key), mffa_buf_clear(&p->id);
    }
    return mffa_buf_check(&p->found, err);
}

static mffa_code fetch_page(mffa_s3_store *s, const char *under, const page *before, page *out, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf query = {0};
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "GET", .text_max = ANSWER_MAX};
    if (before->more) mffa_buf_putf(&query, "key-marker=%s&", mffa_buf_text(&before->next_key));
    mffa_buf_puts(&query, "prefix=");
    mffa_sign_encode(&query, under, false);
    if (before->more && before->next_id.len) mffa_buf_putf(&query, "&upload-id-marker=%s", mffa_buf_text(&before->next_id));
    mffa_buf_puts(&query, "&uploads=");
    c.query = mffa_buf_text(&query);
    mffa_code rc = mffa_buf_check(&query, err);
    if (!rc) rc = mffa_s3_run(&s->s3, &c, err);
    if (rc) return rc;
    rc = mffa_xml_read(mffa_buf_span(&c.text), note, out, err);
    return rc ? mffa_wrap(err, rc, "\"s3://%s/%s\"", s->bucket, under) : MFFA_OK;
}

static mffa_code end_upload(mffa_s3_store *s, const char *key, const char *id, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf query = {0};
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "DELETE", .key = key, .text_max = 1 << 16};
    mffa_err why = {0};
    mffa_buf_putf(&query, "uploadId=%s", id);
    c.query = mffa_buf_text(&query);
    mffa_code rc = mffa_s3_run(&s->s3, &c, &why);
    return !rc || rc == MFFA_ENOTFOUND ? MFFA_OK : mffa_fail(err, rc, "%s", why.msg);
}

static mffa_code end_page(mffa_s3_store *s, const char *under, const page *p, mffa_s3_dead *dead, void *ctx, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    for (size_t at = 0; !rc && at < p->found.len;) {
        const char *key = p->found.ptr + at, *id = key + strlen(key) + 1;
        at += strlen(key) + strlen(id) + 2;
        if (strncmp(key, under, strlen(under)) == 0 && (!dead || dead(ctx, key))) rc = end_upload(s, key, id, err);
    }
    return rc;
}

mffa_code mffa_s3_end_uploads(mffa_s3_store *s, const char *under, mffa_s3_dead *dead, void *ctx, mffa_err *err) {
    page before = {0};
    mffa_err why = {0};
    mffa_code rc = MFFA_OK;
    int pages = 0;
    do {
        page p = {0};
        rc = fetch_page(s, under, &before, &p, &why);
        bool cannot_look = rc == MFFA_EDENIED || rc == MFFA_EUNSUPPORTED; /* such credentials have made none that they could end */
        if (!rc) rc = end_page(s, under, &p, dead, ctx, &why);
        else if (cannot_look) rc = MFFA_OK;
        p.more = p.more && p.next_key.len && !rc;
        page_done(&before);
        before = p;
    } while (before.more && ++pages < PAGES_MAX);
    page_done(&before);
    return rc ? mffa_fail(err, rc, "%s", why.msg) : MFFA_OK;
}

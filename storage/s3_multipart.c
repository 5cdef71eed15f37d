/* Large objects travel in parts, many at a time, and appear in one step at the end. */
#include <string.h>
#include "storage/s3_store.h"
#include "storage/sign.h"
#include "storage/xml.h"

enum { PARTS_MAX = 10000, ANSWER_MAX = 1 << 16 };

typedef struct sent_part {
    char etag[MFFA_S3_ETAG], sum[MFFA_SUM_TEXT]; /* as it came, as it was sent */
    uint64_t crc;
} sent_part;

typedef struct upload {
    mffa_s3_store *store;
    const char *key;
    const mffa_http_body *body;
    mffa_buf id; /* percent-encoded */
    int64_t part_bytes;
    int count;
    sent_part *parts;
    bool vanished; /* acknowledged, and not there */
} upload;

static void upload_done(upload *u) {
    mffa_buf_done(&u->id);
    free(u->parts);
}

static mffa_code note_id(void *ctx, const char *path, const char *text, mffa_err *err) {
    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") != 0) return MFFA_OK;
    mffa_buf_clear(ctx);
    mffa_sign_encode(ctx, text, false);
    return mffa_buf_check(ctx, err);
}

static mffa_sum sum_of(const upload *u) { return u->store->s3.client->checksum; }

static mffa_code create(upload *u, const char *mark, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "POST", .key = u->key, .query = "uploads=", .text_max = ANSWER_MAX};
    mffa_s3_put_object_headers(u->store, u->key, mark, &c.headers);
    mffa_crc kind;
    if (sum_of(u) != MFFA_SUM_NONE) mffa_buf_putf(&c.headers, "x-amz-checksum-algorithm: %s\n", mffa_sum_algorithm(sum_of(u)));
    if (mffa_sum_is_crc(sum_of(u), &kind)) mffa_buf_puts(&c.headers, "x-amz-checksum-type: FULL_OBJECT\n"); /* a hash is of the parts' */
    mffa_code rc = mffa_s3_run(&u->store->s3, &c, err);
    if (!rc) rc = mffa_xml_read(mffa_buf_span(&c.text), note_id, &u->id, err);
    if (!rc && u->id.len == 0) rc = mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server names no upload", u->store->bucket, u->key);
    return rc;
}

typedef struct part {
    mffa_s3_call call; /* first: a finished call is its part */
    mffa_buf query;
    int number; /* from 0 */
} part;

static void part_done(part *p) {
    mffa_s3_call_done(&p->call);
    mffa_buf_done(&p->query);
}

static void start_part(upload *u, part *p, int number) {
    int64_t at = number * u->part_bytes, left = u->body->length - at;
    mffa_http_body body = *u->body;
    part_done(p);
    if (body.fd < 0) body.bytes = (const char *)body.bytes + at;
    else body.offset += at;
    body.length = left < u->part_bytes ? left : u->part_bytes;
    p->number = number;
    mffa_buf_putf(&p->query, "partNumber=%d&uploadId=%s", number + 1, mffa_buf_text(&u->id));
    p->call = (mffa_s3_call){.method = "PUT", .key = u->key, .query = mffa_buf_text(&p->query), .body = body, .text_max = ANSWER_MAX};
    mffa_s3_start(&u->store->s3, &p->call);
}

static mffa_code finish_part(upload *u, const part *p, mffa_err *err) {
    sent_part *sent = &u->parts[p->number];
    if (p->call.rc && err) *err = p->call.err;
    if (p->call.rc) return p->call.rc;
    (void)mffa_http_header(&p->call.answer, "ETag", sent->etag, sizeof sent->etag);
    memcpy(sent->sum, p->call.sum_text, sizeof sent->sum);
    sent->crc = p->call.crc;
    if (*sent->etag) return MFFA_OK;
    return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server gives no ETag for part %d", u->store->bucket, u->key, p->number + 1);
}

static mffa_code send_parts(upload *u, mffa_err *err) {
    mffa_s3 *s3 = &u->store->s3;
    int lanes = u->count < s3->client->concurrency ? u->count : s3->client->concurrency, opened = 0, next = 0;
    MFFA_AUTO(mffa_free_p) part *p = calloc((size_t)lanes, sizeof *p);
    mffa_code rc = p ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
    while (!rc) { /* a part is hashed as it starts: those that have started get on before the next one does */
        mffa_s3_call *c = opened < lanes ? mffa_s3_next(s3, 0) : mffa_s3_wait(s3);
        part *lane = c ? (part *)c : opened < lanes ? &p[opened++] : NULL;
        if (!lane) break;
        if (c) rc = finish_part(u, lane, err);
        if (!rc && next < u->count) start_part(u, lane, next++);
    }
    mffa_s3_abandon(s3);
    for (int i = 0; p && i < lanes; i++) part_done(&p[i]);
    return rc;
}

static void put_part_list(const upload *u, mffa_buf *out) {
    const char *algorithm = mffa_sum_algorithm(sum_of(u));
    mffa_buf_puts(out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (int i = 0; i < u->count; i++) {
        mffa_buf_putf(out, "<Part><PartNumber>%d</PartNumber><ETag>", i + 1);
        mffa_xml_quote(out, u->parts[i].etag);
        mffa_buf_puts(out, "</ETag>");
        if (*algorithm) mffa_buf_putf(out, "<Checksum%s>%s</Checksum%s>", algorithm, u->parts[i].sum, algorithm);
        mffa_buf_puts(out, "</Part>");
    }
    mffa_buf_puts(out, "</CompleteMultipartUpload>");
}

/* The whole object's, put together from the parts'. */
static void put_whole_checksum(const upload *u, mffa_buf *headers) {
    char text[MFFA_CRC_TEXT];
    uint64_t crc = 0;
    mffa_crc kind;
    if (!mffa_sum_is_crc(sum_of(u), &kind)) return;
    for (int i = 0; i < u->count; i++) {
        int64_t left = u->body->length - i * u->part_bytes;
        crc = mffa_crc_join(kind, crc, u->parts[i].crc, left < u->part_bytes ? left : u->part_bytes);
    }
    mffa_crc_text(kind, crc, text);
    mffa_buf_putf(headers, "x-amz-checksum-%s: %s\nx-amz-checksum-type: FULL_OBJECT\n", mffa_sum_name(sum_of(u)), text);
}

/* A server that was killed as it put the parts together may acknowledge the second try, and have nothing to show for it. */
static mffa_code confirm(upload *u, const char *mark, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "HEAD", .key = u->key};
    char found[MFFA_S3_MARK];
    mffa_code rc = mffa_s3_run(&u->store->s3, &c, err);
    if (rc == MFFA_EDENIED) return MFFA_OK; /* credentials that may not look: the server's word has to do */
    if (rc && rc != MFFA_ENOTFOUND) return rc;
    if (!rc && strcmp(mffa_http_header(&c.answer, "x-amz-meta-mffa-put", found, sizeof found), mark) == 0) return MFFA_OK;
    u->vanished = true;
    return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server acknowledges the upload, but %s", u->store->bucket, u->key,
                     rc ? "the object is not there" : "another object is there");
}

static mffa_code complete(upload *u, mffa_put how, const char *mark, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf list = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf query = {0};
    put_part_list(u, &list);
    mffa_buf_putf(&query, "uploadId=%s", mffa_buf_text(&u->id));
    mffa_code rc = mffa_buf_check(&list, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "POST", .key = u->key, .query = mffa_buf_text(&query),
                                                   .body = {list.ptr, -1, 0, (int64_t)list.len}, .text_max = ANSWER_MAX};
    mffa_buf_puts(&c.headers, "Content-Type: application/xml\n");
    put_whole_checksum(u, &c.headers);
    if (how == MFFA_PUT_NEW && u->store->s3.client->conditional) mffa_buf_puts(&c.headers, "If-None-Match: *\n");
    rc = mffa_s3_run(&u->store->s3, &c, err);
    /* an attempt whose answer was lost may have finished the upload: then it is gone, and the object is ours */
    if ((rc == MFFA_EEXISTS || rc == MFFA_ENOTFOUND) && mffa_s3_is_ours(u->store, u->key, mark)) return MFFA_OK;
    if (rc == MFFA_EEXISTS) return mffa_s3_taken(u->store, u->key, err);
    return rc ? rc : confirm(u, mark, err);
}

/* What cannot be ended now is ended by remove_all, or by a lifecycle rule of the bucket. */
static void abort_upload(upload *u) {
    MFFA_AUTO(mffa_buf_done) mffa_buf query = {0};
    mffa_buf_putf(&query, "uploadId=%s", mffa_buf_text(&u->id));
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "DELETE", .key = u->key, .query = mffa_buf_text(&query),
                                                   .text_max = ANSWER_MAX};
    (void)!mffa_s3_run(&u->store->s3, &c, NULL);
}

static mffa_code put_parts_once(mffa_s3_store *s, const char *key, const mffa_http_body *body, mffa_put how, const char *mark,
                                bool *vanished, mffa_err *err) {
    enum { ROUND = 1 << 20 };
    MFFA_AUTO(upload_done) upload u = {.store = s, .key = key, .body = body, .part_bytes = s->s3.client->part_bytes};
    if (body->length > u.part_bytes * PARTS_MAX) u.part_bytes = (body->length / PARTS_MAX / ROUND + 1) * ROUND;
    u.count = (int)((body->length + u.part_bytes - 1) / u.part_bytes);
    u.parts = calloc((size_t)u.count, sizeof *u.parts);
    if (!u.parts) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = create(&u, mark, err);
    if (rc) return rc;
    rc = send_parts(&u, err);
    if (!rc) rc = complete(&u, how, mark, err);
    if (rc) abort_upload(&u);
    *vanished = u.vanished;
    return rc;
}

mffa_code mffa_s3_put_parts(mffa_s3_store *s, const char *key, const mffa_http_body *body, mffa_put how, const char *mark, mffa_err *err) {
    bool vanished = false;
    mffa_code rc = put_parts_once(s, key, body, how, mark, &vanished, err);
    return vanished ? put_parts_once(s, key, body, how, mark, &vanished, err) : rc;
}

#include <string.h>
#include "storage/s3_store.h"

typedef struct fetch {
    mffa_s3_store *store;
    const char *key;
    int64_t max_bytes;
    mffa_s3_write *write;
    void *ctx;
    int64_t total; /* of the object, as the first answer says; -1: it does not */
    char etag[MFFA_S3_ETAG];
} fetch;

void mffa_s3_etag(const mffa_http_answer *a, char out[MFFA_S3_ETAG]) {
    (void)mffa_http_header(a, "ETag", out, MFFA_S3_ETAG);
    size_t n = strlen(out);
    if (n >= 2 && out[0] == '"' && out[n - 1] == '"') memmove(out, out + 1, n - 2), out[n - 2] = '\0';
}

typedef struct range {
    int64_t first, last, total;
} range;

/* "bytes 0-9/100" */
static bool read_range(const mffa_http_answer *a, range *out) {
    char text[96];
    long long first, last, total;
    if (sscanf(mffa_http_header(a, "Content-Range", text, sizeof text), "bytes %lld-%lld/%lld", &first, &last, &total) != 3) return false;
    if (first < 0 || last < first || total <= last) return false;
    *out = (range){first, last, total};
    return true;
}

static mffa_code too_large(const fetch *f, int64_t bytes, mffa_err *err) {
    return mffa_fail(err, MFFA_EINVAL, "it has %lld bytes: at most %lld are read", (long long)bytes, (long long)f->max_bytes);
}

/* The size is known before the first byte is taken. */
static mffa_code read_size(fetch *f, const mffa_http_answer *a, mffa_err *err) {
    range r = {0};
    f->total = a->length;
    if (a->status == 206) {
        if (!read_range(a, &r) || r.first != 0) return mffa_fail(err, MFFA_EIO, "the server answers with a range that was not asked for");
        f->total = r.total;
    }
    mffa_s3_etag(a, f->etag);
    return f->total > f->max_bytes ? too_large(f, f->total, err) : MFFA_OK;
}

static mffa_code take_first(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err) {
    fetch *f = ctx;
    mffa_code rc = at == 0 ? read_size(f, a, err) : MFFA_OK;
    if (!rc && at + (int64_t)piece.len > f->max_bytes) rc = too_large(f, at + (int64_t)piece.len, err);
    return rc ? rc : f->write(f->ctx, at, piece, err);
}

/* The first part says how large the object is; most objects end with it. An empty one has no byte 0 to ask for. */
static mffa_code fetch_first(fetch *f, bool ranged, int64_t *got, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "GET", .key = f->key, .sink = take_first, .ctx = f};
    if (ranged) mffa_buf_putf(&c.headers, "Range: bytes=0-%lld\n", (long long)f->store->s3.client->part_bytes - 1);
    mffa_code rc = mffa_s3_run(&f->store->s3, &c, err);
    if (rc && ranged && c.answer.status == 416) return fetch_first(f, false, got, err);
    if (rc) return rc;
    if (c.answer.got == 0) f->total = 0, mffa_s3_etag(&c.answer, f->etag);
    *got = c.answer.got;
    return MFFA_OK;
}

/* ---- the other parts of a large object ---- */

typedef struct part {
    mffa_s3_call call; /* first: a finished call is its part */
    fetch *f;
    int64_t first, bytes;
} part;

static mffa_code changed(mffa_err *err) { return mffa_fail(err, MFFA_EIO, "it changed while it was read"); }

static mffa_code check_part(const part *p, const mffa_http_answer *a, mffa_err *err) {
    char etag[MFFA_S3_ETAG];
    range r = {0};
    mffa_s3_etag(a, etag);
    if (a->status != 206 || !read_range(a, &r) || r.first != p->first || r.last != p->first + p->bytes - 1)
        return mffa_fail(err, MFFA_EIO, "the server answers with a range that was not asked for");
    return strcmp(etag, p->f->etag) == 0 && r.total == p->f->total ? MFFA_OK : changed(err);
}

static mffa_code take_part(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err) {
    part *p = ctx;
    mffa_code rc = at == 0 ? check_part(p, a, err) : MFFA_OK;
    if (!rc && at + (int64_t)piece.len > p->bytes) rc = mffa_fail(err, MFFA_EIO, "the server answers with more than was asked for");
    return rc ? rc : p->f->write(p->f->ctx, p->first + at, piece, err);
}

static void start_part(part *p, fetch *f, int64_t first) {
    int64_t left = f->total - first, whole = f->store->s3.client->part_bytes;
    mffa_s3_call_done(&p->call);
    p->f = f, p->first = first, p->bytes = left < whole ? left : whole;
    p->call = (mffa_s3_call){.method = "GET", .key = f->key, .sink = take_part, .ctx = p};
    mffa_buf_putf(&p->call.headers, "Range: bytes=%lld-%lld\nIf-Match: \"%s\"\n", (long long)first, (long long)(first + p->bytes - 1),
                  f->etag);
    mffa_s3_start(&f->store->s3, &p->call);
}

static mffa_code finish_part(const part *p, mffa_err *err) {
    const mffa_s3_call *c = &p->call;
    if (c->rc == MFFA_EEXISTS)
        return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": it changed while it was read", p->f->store->bucket, p->f->key);
    if (c->rc && err) *err = c->err;
    if (!c->rc && c->answer.got != p->bytes)
        return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server sent %lld bytes of %lld", p->f->store->bucket, p->f->key,
                         (long long)c->answer.got, (long long)p->bytes);
    return c->rc;
}

static mffa_code fetch_rest(fetch *f, int64_t from, mffa_err *err) {
    const mffa_s3_client *client = f->store->s3.client;
    if (!*f->etag) return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server gives no ETag to hold on to", f->store->bucket, f->key);
    int64_t parts = (f->total - from + client->part_bytes - 1) / client->part_bytes;
    size_t lanes = parts < client->concurrency ? (size_t)parts : (size_t)client->concurrency;
    MFFA_AUTO(mffa_free_p) part *p = calloc(lanes, sizeof *p);
    if (!p) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (size_t i = 0; i < lanes; i++, from += client->part_bytes) start_part(&p[i], f, from);
    mffa_code rc = MFFA_OK;
    for (mffa_s3_call *c; !rc && (c = mffa_s3_wait(&f->store->s3));) {
        rc = finish_part((part *)c, err);
        if (rc || from >= f->total) continue;
        start_part((part *)c, f, from);
        from += client->part_bytes;
    }
    mffa_s3_abandon(&f->store->s3);
    for (size_t i = 0; i < lanes; i++) mffa_s3_call_done(&p[i].call);
    return rc;
}

mffa_code mffa_s3_fetch(mffa_s3_store *s, const char *key, int64_t max_bytes, mffa_s3_write *write, void *ctx, mffa_s3_facts *out,
                        mffa_err *err) {
    fetch f = {.store = s, .key = key, .max_bytes = max_bytes, .write = write, .ctx = ctx, .total = -1};
    int64_t got = 0;
    mffa_code rc = fetch_first(&f, true, &got, err);
    if (!rc && f.total < 0) f.total = got;
    if (!rc && got < f.total) rc = fetch_rest(&f, got, err);
    if (rc) return rc;
    out->bytes = f.total;
    memcpy(out->etag, f.etag, sizeof out->etag);
    return MFFA_OK;
}

mffa_code mffa_s3_head(mffa_s3_store *s, const char *key, mffa_s3_facts *out, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "HEAD", .key = key};
    mffa_code rc = mffa_s3_run(&s->s3, &c, err);
    if (rc) return rc;
    if (c.answer.length < 0) return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server gives no size", s->bucket, key);
    out->bytes = c.answer.length;
    mffa_s3_etag(&c.answer, out->etag);
    return MFFA_OK;
}

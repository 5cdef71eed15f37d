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
    uint64_t first_crcs[MFFA_CRC_COUNT]; /* of the first part of several */
    bool damaged; /* all came, and does not match the server's checksum */
} fetch;

void mffa_s3_etag(const mffa_http_answer *a, char out[MFFA_S3_ETAG]) {
    (void)mffa_http_header(a, "ETag", out, MFFA_S3_ETAG);
    size_t n = strlen(out);
    if (n >= 2 && out[0] == '"' && out[n - 1] == '"') memmove(out, out + 1, n - 2), out[n - 2] = '\0';
}

static mffa_code too_large(const fetch *f, int64_t bytes, mffa_err *err) {
    return mffa_fail(err, MFFA_EINVAL, "it has %lld bytes: at most %lld are read", (long long)bytes, (long long)f->max_bytes);
}

/* The size is known before the first byte is taken. */
static mffa_code read_size(fetch *f, const mffa_http_answer *a, mffa_err *err) {
    mffa_http_range r = {0};
    f->total = a->length;
    if (a->status == 206) {
        if (!mffa_http_read_range(a, &r) || r.first != 0)
            return mffa_fail(err, MFFA_EIO, "the server answers with a range that was not asked for");
        f->total = r.total;
    }
    mffa_s3_etag(a, f->etag);
    return f->total > f->max_bytes ? too_large(f, f->total, err) : MFFA_OK;
}

static mffa_code take_first(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err) {
    fetch *f = ctx;
    mffa_code rc = at == 0 ? read_size(f, a, err) : MFFA_OK;
    if (!rc && at + (int64_t)piece.len > f->max_bytes) rc = too_large(f, at + (int64_t)piece.len, err);
    if (rc) return rc;
    for (int k = 0; k < MFFA_CRC_COUNT && a->length < f->total; k++) /* which of them the server keeps is not known yet */
        f->first_crcs[k] = mffa_crc_add((mffa_crc)k, at ? f->first_crcs[k] : 0, piece.ptr, piece.len);
    return f->write(f->ctx, at, piece, err);
}

/* The first part says how large the object is; most objects end with it. An empty one has no byte 0 to ask for. */
static mffa_code fetch_first(fetch *f, bool ranged, int64_t *got, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "GET", .key = f->key, .sink = take_first, .ctx = f, .verify = true};
    if (ranged) mffa_buf_putf(&c.headers, "Range: bytes=0-%lld\n", (long long)f->store->s3.client->part_bytes - 1);
    mffa_code rc = mffa_s3_run(&f->store->s3, &c, err);
    if (rc && ranged && c.answer.status == 416) return fetch_first(f, false, got, err);
    if (rc) return rc;
    if (c.answer.got == 0) f->total = 0, mffa_s3_etag(&c.answer, f->etag);
    *got = c.answer.got;
    return MFFA_OK;
}

/* ---- the other parts of a large object ---- */

typedef struct rest {
    fetch *f;
    int64_t from; /* the end of the first part */
    int64_t next; /* to be started */
    mffa_checksum sum; /* of the whole, as the server keeps it */
    mffa_crc kind;
    uint64_t *crcs; /* of each part; NULL where the whole's checksum cannot be put together from them */
} rest;

static void rest_done(rest *r) { free(r->crcs); }

typedef struct part {
    mffa_s3_call call; /* first: a finished call is its part */
    rest *r;
    int64_t first, bytes;
    uint64_t crc;
} part;

static mffa_code changed(mffa_err *err) { return mffa_fail(err, MFFA_EIO, "it changed while it was read"); }

static mffa_code check_part(const part *p, const mffa_http_answer *a, mffa_err *err) {
    char etag[MFFA_S3_ETAG];
    mffa_http_range r = {0};
    mffa_s3_etag(a, etag);
    if (a->status != 206 || !mffa_http_read_range(a, &r) || r.first != p->first || r.last != p->first + p->bytes - 1)
        return mffa_fail(err, MFFA_EIO, "the server answers with a range that was not asked for");
    return strcmp(etag, p->r->f->etag) == 0 && r.total == p->r->f->total ? MFFA_OK : changed(err);
}

static mffa_code take_part(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err) {
    part *p = ctx;
    mffa_code rc = at == 0 ? check_part(p, a, err) : MFFA_OK;
    if (!rc && at + (int64_t)piece.len > p->bytes) rc = mffa_fail(err, MFFA_EIO, "the server answers with more than was asked for");
    if (rc) return rc;
    if (p->r->crcs) p->crc = mffa_crc_add(p->r->kind, at ? p->crc : 0, piece.ptr, piece.len);
    return p->r->f->write(p->r->f->ctx, p->first + at, piece, err);
}

static void start_part(part *p, rest *r) {
    const fetch *f = r->f;
    int64_t left = f->total - r->next, whole = f->store->s3.client->part_bytes;
    mffa_s3_call_done(&p->call);
    p->r = r, p->first = r->next, p->bytes = left < whole ? left : whole;
    p->call = (mffa_s3_call){.method = "GET", .key = f->key, .sink = take_part, .ctx = p};
    mffa_buf_putf(&p->call.headers, "Range: bytes=%lld-%lld\nIf-Match: \"%s\"\n", (long long)p->first,
                  (long long)(p->first + p->bytes - 1), f->etag);
    mffa_s3_start(&f->store->s3, &p->call);
    r->next += p->bytes;
}

static mffa_code finish_part(const part *p, mffa_err *err) {
    const mffa_s3_call *c = &p->call;
    const fetch *f = p->r->f;
    if (c->rc == MFFA_EEXISTS) return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": it changed while it was read", f->store->bucket, f->key);
    if (c->rc && err) *err = c->err;
    if (!c->rc && c->answer.got != p->bytes)
        return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server sent %lld bytes of %lld", f->store->bucket, f->key,
                         (long long)c->answer.got, (long long)p->bytes);
    if (!c->rc && p->r->crcs) p->r->crcs[(p->first - p->r->from) / f->store->s3.client->part_bytes] = p->crc;
    return c->rc;
}

static mffa_code fetch_parts(rest *r, int64_t count, mffa_err *err) {
    mffa_s3 *s3 = &r->f->store->s3;
    size_t lanes = count < s3->client->concurrency ? (size_t)count : (size_t)s3->client->concurrency;
    MFFA_AUTO(mffa_free_p) part *p = calloc(lanes, sizeof *p);
    if (!p) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (size_t i = 0; i < lanes; i++) start_part(&p[i], r);
    mffa_code rc = MFFA_OK;
    for (mffa_s3_call *c; !rc && (c = mffa_s3_wait(s3));) {
        rc = finish_part((part *)c, err);
        if (!rc && r->next < r->f->total) start_part((part *)c, r);
    }
    mffa_s3_abandon(s3);
    for (size_t i = 0; i < lanes; i++) mffa_s3_call_done(&p[i].call);
    return rc;
}

static mffa_code check_whole(const rest *r, int64_t count, mffa_err *err) {
    const fetch *f = r->f;
    if (!r->crcs) return MFFA_OK;
    uint64_t crc = f->first_crcs[r->kind];
    int64_t whole = f->store->s3.client->part_bytes;
    for (int64_t i = 0; i < count; i++) {
        int64_t left = f->total - r->from - i * whole;
        crc = mffa_crc_join(r->kind, crc, r->crcs[i], left < whole ? left : whole);
    }
    r->f->damaged = !mffa_checksum_is(&r->sum, crc);
    if (!f->damaged) return MFFA_OK;
    return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": what came does not match the server's checksum, %s %s: damaged on its way, or there",
                     f->store->bucket, f->key, mffa_sum_name(r->sum.kind), r->sum.want);
}

/* A part's answer has no checksum of the whole; that of a HEAD has. */
static mffa_code fetch_rest(fetch *f, const mffa_s3_facts *known, int64_t from, mffa_err *err) {
    const mffa_s3_client *client = f->store->s3.client;
    MFFA_AUTO(rest_done) rest r = {.f = f, .from = from, .next = from};
    mffa_s3_facts facts = *known;
    if (!*f->etag) return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server gives no ETag to hold on to", f->store->bucket, f->key);
    mffa_code rc = known->bytes < 0 ? mffa_s3_head(f->store, f->key, &facts, err) : MFFA_OK;
    if (rc) return rc;
    int64_t count = (f->total - from + client->part_bytes - 1) / client->part_bytes;
    r.sum = facts.sum;
    if (strcmp(facts.etag, f->etag) == 0 && mffa_sum_is_crc(r.sum.kind, &r.kind)) {
        r.crcs = calloc((size_t)count, sizeof *r.crcs);
        if (!r.crcs) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    rc = fetch_parts(&r, count, err);
    return rc ? rc : check_whole(&r, count, err);
}

static mffa_code fetch_once(fetch *f, const mffa_s3_facts *known, mffa_err *err) {
    int64_t got = 0;
    f->total = -1, f->damaged = false;
    mffa_code rc = fetch_first(f, true, &got, err);
    if (!rc && f->total < 0) f->total = got;
    return !rc && got < f->total ? fetch_rest(f, known, got, err) : rc;
}

mffa_code mffa_s3_fetch(mffa_s3_store *s, const char *key, int64_t max_bytes, mffa_s3_write *write, void *ctx, mffa_s3_facts *facts,
                        mffa_err *err) {
    enum { ATTEMPTS = 3 };
    fetch f = {.store = s, .key = key, .max_bytes = max_bytes, .write = write, .ctx = ctx};
    mffa_code rc = fetch_once(&f, facts, err);
    for (int attempts = 1; rc && f.damaged && attempts < ATTEMPTS; attempts++) rc = fetch_once(&f, facts, err);
    if (rc) return rc;
    facts->bytes = f.total;
    memcpy(facts->etag, f.etag, sizeof facts->etag);
    return MFFA_OK;
}

mffa_code mffa_s3_head(mffa_s3_store *s, const char *key, mffa_s3_facts *out, mffa_err *err) {
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "HEAD", .key = key, .verify = true};
    mffa_code rc = mffa_s3_run(&s->s3, &c, err);
    if (rc) return rc;
    if (c.answer.length < 0) return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server gives no size", s->bucket, key);
    *out = (mffa_s3_facts){.bytes = c.answer.length};
    mffa_s3_etag(&c.answer, out->etag);
    mffa_checksum_read(&c.answer, &out->sum);
    return MFFA_OK;
}

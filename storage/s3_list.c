#include <string.h>
#include "storage/s3_store.h"
#include "storage/sign.h"
#include "storage/xml.h"

enum { PAGE_BYTES_MAX = 32 << 20, EMPTY_PAGES_MAX = 1000 };

typedef struct page {
    mffa_buf texts; /* of each object: key, size, etag; NUL-terminated, one after the other */
    mffa_buf key, size, etag, token;
    bool more, encoded;
} page;

static void page_done(page *p) {
    mffa_buf_done(&p->texts);
    mffa_buf_done(&p->key);
    mffa_buf_done(&p->size);
    mffa_buf_done(&p->etag);
    mffa_buf_done(&p->token);
}

static void put_text(mffa_buf *out, const char *text) { mffa_buf_put(out, text, strlen(text) + 1); }

static void set_text(mffa_buf *out, const char *text) { mffa_buf_clear(out), mffa_buf_puts(out, text); }

static mffa_code note(void *ctx, const char *path, const char *text, mffa_err *err) {
    static const char root[] = "ListBucketResult/";
    page *p = ctx;
    if (strncmp(path, root, sizeof root - 1) != 0) return MFFA_OK;
    path += sizeof root - 1;
    if (strcmp(path, "Contents/Key") == 0) set_text(&p->key, text);
    else if (strcmp(path, "Contents/Size") == 0) set_text(&p->size, text);
    else if (strcmp(path, "Contents/ETag") == 0) set_text(&p->etag, text);
    else if (strcmp(path, "NextContinuationToken") == 0) set_text(&p->token, text);
    else if (strcmp(path, "IsTruncated") == 0) p->more = strcmp(text, "true") == 0;
    else if (strcmp(path, "EncodingType") == 0) p->encoded = strcmp(text, "url") == 0;
    else if (strcmp(path, "Contents") == 0) {
        put_text(&p->texts, mffa_buf_text(&p->key));
        put_text(&p->texts, mffa_buf_text(&p->size));
        put_text(&p->texts, mffa_buf_text(&p->etag));
        mffa_buf_clear(&p->key), mffa_buf_clear(&p->size), mffa_buf_clear(&p->etag);
    }
    return mffa_buf_check(&p->texts, err);
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool mffa_s3_decode_key(char *text) {
    char *out = text;
    for (const char *at = text; *at; at++, out++) {
        int high = *at == '%' ? digit(at[1]) : -1, low = high >= 0 ? digit(at[2]) : -1;
        *out = *at == '+' ? ' ' : *at;
        if (low < 0) continue;
        if (high == 0 && low == 0) return false;
        *out = (char)(high << 4 | low);
        at += 2;
    }
    *out = '\0';
    return true;
}

static void unquote(char *etag) {
    size_t n = strlen(etag);
    if (n >= 2 && etag[0] == '"' && etag[n - 1] == '"') memmove(etag, etag + 1, n - 2), etag[n - 2] = '\0';
}

typedef struct listing {
    mffa_s3_store *store;
    const char *under;
    mffa_s3_each *fn;
    void *ctx;
    mffa_buf last; /* the key before: keys only ever grow, so that a list cannot go round in circles */
    int empty;     /* pages in a row */
} listing;

static mffa_code bad_list(const listing *l, const char *what, mffa_err *err) {
    return mffa_fail(err, MFFA_EIO, "\"s3://%s/%s\": the server's list %s", l->store->bucket, l->under, what);
}

static mffa_code give(listing *l, const char *key, const char *size, const char *etag, mffa_err *err) {
    char *end = NULL;
    long long bytes = strtoll(size, &end, 10);
    if (end == size || *end || bytes < 0) return bad_list(l, "has an object without a size", err);
    if (strncmp(key, l->under, strlen(l->under)) != 0) return bad_list(l, "has a key that was not asked for", err);
    if (l->last.ptr && strcmp(key, l->last.ptr) <= 0) return bad_list(l, "is not in order, or goes round in circles", err);
    set_text(&l->last, key);
    mffa_code rc = mffa_buf_check(&l->last, err);
    return rc ? rc : l->fn(l->ctx, key, bytes, etag, err);
}

static mffa_code give_page(listing *l, page *p, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    l->empty = p->texts.len ? 0 : l->empty + 1;
    for (char *at = p->texts.ptr, *end = at + p->texts.len; !rc && at < end;) {
        char *key = at, *size = key + strlen(key) + 1, *etag = size + strlen(size) + 1;
        at = etag + strlen(etag) + 1;
        if (p->encoded && !mffa_s3_decode_key(key)) return bad_list(l, "has a key with a NUL byte", err);
        unquote(etag);
        rc = give(l, key, size, etag, err);
    }
    return rc;
}

static mffa_code fetch_page(listing *l, const char *token, page *out, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf query = {0};
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = "GET", .text_max = PAGE_BYTES_MAX};
    if (*token) mffa_buf_puts(&query, "continuation-token="), mffa_sign_encode(&query, token, false), mffa_buf_puts(&query, "&");
    mffa_buf_puts(&query, "encoding-type=url&list-type=2&max-keys=1000&prefix=");
    mffa_sign_encode(&query, l->under, false);
    mffa_code rc = mffa_buf_check(&query, err);
    c.query = mffa_buf_text(&query);
    if (!rc) rc = mffa_s3_run(&l->store->s3, &c, err);
    if (rc) return rc;
    rc = mffa_xml_read(mffa_buf_span(&c.text), note, out, err);
    return rc ? mffa_wrap(err, rc, "\"s3://%s/%s\"", l->store->bucket, l->under) : MFFA_OK;
}

static mffa_code next_page(listing *l, mffa_buf *token, bool *more, mffa_err *err) {
    MFFA_AUTO(page_done) page p = {0};
    mffa_code rc = fetch_page(l, mffa_buf_text(token), &p, err);
    if (!rc) rc = give_page(l, &p, err);
    if (rc) return rc;
    *more = p.more;
    if (p.more && p.token.len == 0) return bad_list(l, "has more, but does not say where", err);
    if (p.more && token->len && strcmp(token->ptr, p.token.ptr) == 0) return bad_list(l, "goes round in circles", err);
    if (l->empty > EMPTY_PAGES_MAX) return bad_list(l, "has no end and no objects", err);
    set_text(token, mffa_buf_text(&p.token));
    return mffa_buf_check(token, err);
}

mffa_code mffa_s3_list(mffa_s3_store *s, const char *under, mffa_s3_each *fn, void *ctx, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf token = {0};
    listing l = {.store = s, .under = under, .fn = fn, .ctx = ctx};
    mffa_code rc = MFFA_OK;
    for (bool more = true; !rc && more;) rc = next_page(&l, &token, &more, err);
    mffa_buf_done(&l.last);
    return rc;
}

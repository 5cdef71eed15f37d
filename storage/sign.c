#include "storage/sign.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum { LONGEST_S = 604800 };

void mffa_sign_time(int64_t time_s, char out[MFFA_SIGN_TIME]) {
    time_t t = (time_t)time_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    if (strftime(out, MFFA_SIGN_TIME, "%Y%m%dT%H%M%SZ", &tm) == 0) out[0] = '\0';
}

static void encode_byte(mffa_buf *out, unsigned char c, bool keep_slash) {
    char byte = (char)c;
    if ((c < 0x80 && isalnum(c)) || (c && strchr("-._~", c)) || (keep_slash && c == '/')) mffa_buf_put(out, &byte, 1);
    else mffa_buf_putf(out, "%%%02X", c);
}

void mffa_sign_encode(mffa_buf *out, const char *text, bool keep_slash) {
    for (; *text; text++) encode_byte(out, (unsigned char)*text, keep_slash);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What the server makes of it: it decodes, and encodes in the one canonical way. */
static void encode_again(mffa_buf *out, const char *text, size_t len, bool keep_slash) {
    for (size_t i = 0; i < len; i++) {
        int high = text[i] == '%' && i + 2 < len ? hex_value(text[i + 1]) : -1, low = high < 0 ? -1 : hex_value(text[i + 2]);
        if (low >= 0) encode_byte(out, (unsigned char)(high << 4 | low), keep_slash && (high << 4 | low) != '/'), i += 2;
        else encode_byte(out, (unsigned char)text[i], keep_slash);
    }
}

typedef struct pair { /* offsets into a buf; of NUL-terminated texts */
    size_t name, value, order;
} pair;

static int by_name_and_value(const void *a, const void *b, void *texts) {
    const pair *x = a, *y = b;
    const char *t = texts;
    int order = strcmp(t + x->name, t + y->name);
    return order ? order : strcmp(t + x->value, t + y->value);
}

static int by_name_and_order(const void *a, const void *b, void *texts) {
    const pair *x = a, *y = b;
    const char *t = texts;
    int order = strcmp(t + x->name, t + y->name);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static mffa_code put_query(mffa_buf *out, const char *query, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf texts = {0};
    pair pairs[MFFA_SIGN_QUERY_MAX];
    size_t n = 0;
    for (const char *at = query; *at;) {
        size_t len = strcspn(at, "&"), name = strcspn(at, "=&");
        if (n == MFFA_COUNT(pairs)) return mffa_fail(err, MFFA_EINVAL, "cannot sign a query of more than %zu fields", n);
        pairs[n].name = texts.len;
        encode_again(&texts, at, name, false);
        mffa_buf_put(&texts, "", 1);
        pairs[n++].value = texts.len;
        if (name < len) encode_again(&texts, at + name + 1, len - name - 1, false);
        mffa_buf_put(&texts, "", 1);
        at += len + (at[len] == '&');
    }
    mffa_code rc = mffa_buf_check(&texts, err);
    if (rc) return rc;
    if (n > 1) qsort_r(pairs, n, sizeof *pairs, by_name_and_value, texts.ptr);
    for (size_t i = 0; i < n; i++) mffa_buf_putf(out, "%s%s=%s", i ? "&" : "", texts.ptr + pairs[i].name, texts.ptr + pairs[i].value);
    return MFFA_OK;
}

/* Lower-case name, then the value without blanks around it and with one blank for several. */
static bool read_header(mffa_buf *texts, const char *line, size_t len, pair *out) {
    const char *colon = memchr(line, ':', len), *end = line + len;
    if (!colon || colon == line) return false;
    out->name = texts->len;
    for (const char *at = line; at < colon; at++) mffa_buf_put(texts, &(char){(char)tolower((unsigned char)*at)}, 1);
    mffa_buf_put(texts, "", 1);
    out->value = texts->len;
    while (end > colon + 1 && strchr(" \t\r", end[-1])) end--;
    for (const char *at = colon + 1; at < end; at++) {
        bool blank = *at == ' ' || *at == '\t', first = texts->len == out->value;
        if (blank && (first || texts->ptr[texts->len - 1] == ' ')) continue;
        mffa_buf_put(texts, blank ? " " : at, 1);
    }
    mffa_buf_put(texts, "", 1);
    return true;
}

static mffa_code put_headers(mffa_buf *canonical, mffa_buf *names, const char *headers, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf texts = {0};
    pair pairs[MFFA_SIGN_HEADERS_MAX];
    size_t n = 0;
    for (const char *at = headers; *at;) {
        size_t len = strcspn(at, "\n");
        if (n == MFFA_COUNT(pairs)) return mffa_fail(err, MFFA_EINVAL, "cannot sign more than %zu headers", n);
        if (!read_header(&texts, at, len, &pairs[n])) return mffa_fail(err, MFFA_EINVAL, "header line %zu has no name and colon", n + 1);
        pairs[n].order = n, n++;
        at += len + (at[len] == '\n');
    }
    mffa_code rc = mffa_buf_check(&texts, err);
    if (rc) return rc;
    if (n > 1) qsort_r(pairs, n, sizeof *pairs, by_name_and_order, texts.ptr);
    for (size_t i = 0; i < n; i++) {
        const char *name = texts.ptr + pairs[i].name, *value = texts.ptr + pairs[i].value;
        bool same = i > 0 && strcmp(name, texts.ptr + pairs[i - 1].name) == 0;
        if (same) mffa_buf_putf(canonical, ",%s", value); /* a header that comes twice is one with both values */
        else mffa_buf_putf(canonical, "%s%s:%s", i ? "\n" : "", name, value);
        if (!same) mffa_buf_putf(names, "%s%s", i ? ";" : "", name);
    }
    if (n) mffa_buf_puts(canonical, "\n");
    return MFFA_OK;
}

static mffa_code put_request(mffa_buf *out, mffa_buf *names, const char *method, const char *path, const char *query, const char *headers,
                             const char *payload, mffa_err *err) {
    mffa_buf_putf(out, "%s\n", method);
    encode_again(out, path, strlen(path), true);
    mffa_buf_puts(out, "\n");
    mffa_code rc = put_query(out, query, err);
    mffa_buf_puts(out, "\n");
    if (!rc) rc = put_headers(out, names, headers, err);
    mffa_buf_putf(out, "\n%s\n%s", mffa_buf_text(names), payload);
    return rc ? rc : mffa_buf_check(out, err);
}

static void put_scope(mffa_buf *out, const mffa_signer *s, const char *time) {
    mffa_buf_putf(out, "%.8s/%s/%s/aws4_request", time, s->region, s->service);
}

static mffa_code derive_key(const mffa_signer *s, const char *time, unsigned char key[MFFA_SHA256_BYTES], mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf first = {0};
    const mffa_span steps[] = {{time, 8}, mffa_span_of(s->region), mffa_span_of(s->service), mffa_span_of("aws4_request")};
    mffa_buf_putf(&first, "AWS4%s", s->secret);
    mffa_code rc = mffa_buf_check(&first, err);
    for (size_t i = 0; !rc && i < MFFA_COUNT(steps); i++) {
        unsigned char next[MFFA_SHA256_BYTES];
        rc = mffa_hmac_sha256(i ? (mffa_span){key, MFFA_SHA256_BYTES} : mffa_buf_span(&first), steps[i], next, err);
        memcpy(key, next, sizeof next);
    }
    if (first.ptr) explicit_bzero(first.ptr, first.len);
    return rc;
}

static mffa_code put_signature(const mffa_signer *s, const char *time, const mffa_buf *request, mffa_buf *out, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    char hash[MFFA_SHA256_HEX];
    unsigned char key[MFFA_SHA256_BYTES], signature[MFFA_SHA256_BYTES];
    mffa_code rc = mffa_sha256_of(mffa_buf_span(request), hash, err);
    if (rc) return rc;
    mffa_buf_putf(&text, "AWS4-HMAC-SHA256\n%s\n", time);
    put_scope(&text, s, time);
    mffa_buf_putf(&text, "\n%s", hash);
    rc = mffa_buf_check(&text, err);
    if (!rc) rc = derive_key(s, time, key, err);
    if (!rc) rc = mffa_hmac_sha256((mffa_span){key, sizeof key}, mffa_buf_span(&text), signature, err);
    for (size_t i = 0; !rc && i < sizeof signature; i++) mffa_buf_putf(out, "%02x", signature[i]);
    explicit_bzero(key, sizeof key);
    return rc;
}

mffa_code mffa_sign_headers(const mffa_signer *s, const char *method, const char *path, const char *query, const char *headers,
                            const char *payload_sha256, mffa_buf *out, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf request = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf names = {0};
    char time[MFFA_SIGN_TIME];
    mffa_sign_time(s->time_s, time);
    mffa_code rc = put_request(&request, &names, method, path, query, headers, payload_sha256, err);
    if (rc) return rc;
    mffa_buf_putf(out, "AWS4-HMAC-SHA256 Credential=%s/", s->key_id);
    put_scope(out, s, time);
    mffa_buf_putf(out, ", SignedHeaders=%s, Signature=", mffa_buf_text(&names));
    rc = put_signature(s, time, &request, out, err);
    return rc ? rc : mffa_buf_check(out, err);
}

mffa_code mffa_sign_url(const mffa_signer *s, const char *method, const char *host, const char *path, const char *query, int64_t expires_s,
                        mffa_buf *out, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf all = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf scope = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf headers = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf request = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf names = {0};
    char time[MFFA_SIGN_TIME];
    if (expires_s < 1 || expires_s > LONGEST_S)
        return mffa_fail(err, MFFA_EINVAL, "a presigned URL is valid for 1 to %d seconds, not %lld", LONGEST_S, (long long)expires_s);
    mffa_sign_time(s->time_s, time);
    mffa_buf_putf(&scope, "%s/", s->key_id);
    put_scope(&scope, s, time);
    mffa_buf_putf(&all, "%s%sX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=", query, *query ? "&" : "");
    mffa_sign_encode(&all, mffa_buf_text(&scope), false);
    mffa_buf_putf(&all, "&X-Amz-Date=%s&X-Amz-Expires=%lld", time, (long long)expires_s);
    if (s->token) mffa_buf_puts(&all, "&X-Amz-Security-Token="), mffa_sign_encode(&all, s->token, false);
    mffa_buf_puts(&all, "&X-Amz-SignedHeaders=host");
    mffa_buf_putf(&headers, "host: %s\n", host);
    mffa_code rc = mffa_buf_check(&all, err);
    if (!rc) rc = put_request(&request, &names, method, path, mffa_buf_text(&all), mffa_buf_text(&headers), "UNSIGNED-PAYLOAD", err);
    mffa_buf_putf(out, "%s&X-Amz-Signature=", mffa_buf_text(&all));
    if (!rc) rc = put_signature(s, time, &request, out, err);
    return rc ? rc : mffa_buf_check(out, err);
}

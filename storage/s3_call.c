#include "storage/s3_call.h"

#include <string.h>
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "core/base/stats.h"
#include "storage/sign.h"

#define NO_BODY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

mffa_code mffa_s3_open(mffa_s3_client *c, const char *bucket, mffa_s3 *out, mffa_err *err) {
    *out = (mffa_s3){.client = c, .bucket = bucket};
    return mffa_http_open(&c->http, &out->http, err);
}

void mffa_s3_close(mffa_s3 *s) {
    mffa_http_close(s->http);
    *s = (mffa_s3){0};
}

void mffa_s3_call_done(mffa_s3_call *c) {
    mffa_buf_done(&c->headers);
    mffa_buf_done(&c->text);
    mffa_buf_done(&c->url);
    mffa_buf_done(&c->lines);
    mffa_http_answer_done(&c->answer);
    mffa_checksum_done(&c->sum);
    *c = (mffa_s3_call){0};
}

void mffa_s3_put_encryption(const mffa_s3 *s, mffa_buf *headers) {
    const mffa_s3_client *c = s->client;
    if (c->sse) mffa_buf_putf(headers, "x-amz-server-side-encryption: %s\n", c->sse);
    if (c->kms_key) mffa_buf_putf(headers, "x-amz-server-side-encryption-aws-kms-key-id: %s\n", c->kms_key);
}

/* ---- signing ---- */

static bool has_body(const mffa_s3_call *c) {
    return c->body.length > 0 || strcmp(c->method, "PUT") == 0 || strcmp(c->method, "POST") == 0;
}

/* One way through the file for both. */
static mffa_code hash_file(mffa_s3_call *c, mffa_sum sum, mffa_err *err) {
    enum { PIECE = 1 << 16 };
    MFFA_AUTO(mffa_sha256_close_p) mffa_sha256 *h = NULL;
    const mffa_http_body *b = &c->body;
    mffa_crc kind;
    bool with_crc = mffa_sum_is_crc(sum, &kind);
    char piece[PIECE];
    mffa_code rc = mffa_sha256_open(&h, err);
    if (rc) return rc;
    for (int64_t at = 0; at < b->length;) {
        size_t n = b->length - at < PIECE ? (size_t)(b->length - at) : PIECE;
        ssize_t got = pread(b->fd, piece, n, b->offset + at);
        if (got <= 0) return mffa_fail(err, MFFA_EIO, "could not read what is to be sent");
        mffa_sha256_add(h, piece, (size_t)got);
        if (with_crc) c->crc = mffa_crc_add(kind, c->crc, piece, (size_t)got);
        at += got;
    }
    mffa_sha256_hex(h, c->payload);
    return MFFA_OK;
}

static mffa_code hash_body(mffa_s3_call *c, mffa_sum sum, mffa_err *err) {
    mffa_crc kind;
    if (*c->payload) return MFFA_OK;
    if (c->body.length == 0) return snprintf(c->payload, sizeof c->payload, NO_BODY_SHA256), MFFA_OK;
    if (c->body.fd >= 0) return hash_file(c, sum, err);
    if (mffa_sum_is_crc(sum, &kind)) c->crc = mffa_crc_add(kind, 0, c->body.bytes, (size_t)c->body.length);
    return mffa_sha256_of((mffa_span){c->body.bytes, (size_t)c->body.length}, c->payload, err);
}

static mffa_code put_checksum(const mffa_s3 *s, mffa_s3_call *c, mffa_err *err) {
    mffa_sum sum = s->client->checksum;
    mffa_crc kind;
    mffa_code rc = MFFA_OK;
    if (sum == MFFA_SUM_NONE || strcmp(c->method, "PUT") != 0) return MFFA_OK;
    if (mffa_sum_is_crc(sum, &kind)) mffa_crc_text(kind, c->crc, c->sum_text);
    else rc = mffa_sha256_base64(c->payload, c->sum_text, err);
    mffa_buf_putf(&c->lines, "x-amz-checksum-%s: %s\n", mffa_sum_name(sum), c->sum_text);
    return rc;
}

static mffa_code put_lines(const mffa_s3 *s, mffa_s3_call *c, const char *host, const mffa_signer *who, mffa_err *err) {
    char time[MFFA_SIGN_TIME];
    mffa_sign_time(who->time_s, time);
    mffa_buf_clear(&c->lines);
    mffa_buf_putf(&c->lines, "Host: %s\nx-amz-date: %s\nx-amz-content-sha256: %s\n", host, time, c->payload);
    if (who->token) mffa_buf_putf(&c->lines, "x-amz-security-token: %s\n", who->token);
    if (c->verify) mffa_buf_puts(&c->lines, "x-amz-checksum-mode: ENABLED\n");
    if (s->client->requester_pays) mffa_buf_puts(&c->lines, "x-amz-request-payer: requester\n");
    mffa_buf_put(&c->lines, mffa_buf_text(&c->headers), c->headers.len);
    return put_checksum(s, c, err);
}

/* The URL and the signed headers of the next attempt. */
static mffa_code sign(mffa_s3 *s, mffa_s3_call *c, const mffa_credentials *who, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf host = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf path = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf authorization = {0};
    const char *query = c->query ? c->query : "";
    mffa_signer signer = {.key_id = who->key_id, .secret = who->secret, .token = who->token, .region = s->client->region, .service = "s3",
                          .time_s = mffa_wall_ms() / 1000 + atomic_load(&s->client->skew_s)};
    mffa_s3_place(s->client, s->bucket, &host, &path);
    mffa_buf_puts(&path, "/");
    if (c->key) mffa_sign_encode(&path, c->key, true);
    mffa_buf_clear(&c->url);
    mffa_buf_putf(&c->url, "%s://%s%s%s%s", s->client->scheme, mffa_buf_text(&host), mffa_buf_text(&path), *query ? "?" : "", query);
    mffa_code rc = hash_body(c, s->client->checksum, err);
    if (!rc) rc = put_lines(s, c, mffa_buf_text(&host), &signer, err);
    if (!rc)
        rc = mffa_sign_headers(&signer, c->method, mffa_buf_text(&path), query, mffa_buf_text(&c->lines), c->payload, &authorization, err);
    mffa_buf_putf(&c->lines, "Authorization: %s\n", mffa_buf_text(&authorization));
    if (!rc) rc = mffa_buf_check(&c->lines, err);
    return rc ? rc : mffa_buf_check(&c->url, err);
}

static mffa_code collect(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err) {
    mffa_s3_call *c = ctx;
    (void)a;
    if (at == 0) mffa_buf_clear(&c->text);
    if (c->text.len + piece.len > c->text_max) return mffa_fail(err, MFFA_EIO, "the answer has more than %zu bytes", c->text_max);
    mffa_buf_put(&c->text, piece.ptr, piece.len);
    return mffa_buf_check(&c->text, err);
}

static bool is_whole(const mffa_http_answer *a) {
    mffa_http_range r;
    return a->status == 200 || (mffa_http_read_range(a, &r) && r.first == 0 && r.last == r.total - 1);
}

static mffa_code verify(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err) {
    mffa_s3_call *c = ctx;
    if (at == 0 && is_whole(a)) mffa_checksum_read(a, &c->sum);
    mffa_code rc = c->sink(c->ctx, a, at, piece, err);
    return rc ? rc : mffa_checksum_add(&c->sum, piece, err);
}

static mffa_code attempt(mffa_s3 *s, mffa_s3_call *c, mffa_err *err) {
    mffa_credentials who = {0};
    mffa_code rc = mffa_credentials_get(s->client->credentials, &who, err);
    if (!rc) rc = sign(s, c, &who, err);
    if (!rc) snprintf(c->key_id, sizeof c->key_id, "%s", who.key_id);
    mffa_credentials_done(&who);
    if (rc) return rc;
    c->attempts++;
    c->began_ms = mffa_now_ms();
    mffa_buf_clear(&c->text);
    mffa_checksum_done(&c->sum);
    c->request = (mffa_http_request){.method = c->method,
                                     .url = mffa_buf_text(&c->url),
                                     .headers = mffa_buf_text(&c->lines),
                                     .body = has_body(c) ? &c->body : NULL,
                                     .sink = c->verify ? verify : c->sink ? c->sink : collect,
                                     .ctx = c->sink && !c->verify ? c->ctx : c,
                                     .timeout_ms = c->deadline_ms - mffa_now_ms()};
    return mffa_http_start(s->http, &c->request, &c->answer, c, err);
}

/* ---- outcomes ---- */

static void finish(mffa_s3 *s, mffa_s3_call *c) {
    c->next = s->finished;
    s->finished = c;
}

static void begin(mffa_s3 *s, mffa_s3_call *c) {
    c->err = (mffa_err){0};
    c->rc = attempt(s, c, &c->err);
    if (!c->rc) return;
    (void)mffa_wrap(&c->err, c->rc, "\"s3://%s/%s\"", s->bucket, c->key ? c->key : "");
    finish(s, c);
}

/* The server's clock is right; a request is refused when ours is off by more than 15 minutes. */
static bool repair_clock(mffa_s3 *s, mffa_s3_call *c) {
    char date[64];
    (void)mffa_http_header(&c->answer, "Date", date, sizeof date);
    int64_t theirs = mffa_http_date_s(date), ours = mffa_wall_ms() / 1000;
    if (c->clock_repaired || theirs < 0) return false;
    c->clock_repaired = true;
    atomic_store(&s->client->skew_s, theirs - ours);
    return true;
}

/* HEAD has no body to say why: a refusal with a Date far from ours is the clock. */
static bool clock_is_off(const mffa_s3 *s, const mffa_s3_call *c) {
    enum { FAR_S = 300 };
    char date[64];
    if (c->answer.status != 403 || strcmp(c->method, "HEAD") != 0) return false;
    int64_t theirs = mffa_http_date_s(mffa_http_header(&c->answer, "Date", date, sizeof date));
    int64_t ours = mffa_wall_ms() / 1000 + atomic_load(&s->client->skew_s);
    return theirs >= 0 && (theirs - ours > FAR_S || ours - theirs > FAR_S);
}

static mffa_retry class_of(const mffa_s3 *s, const mffa_s3_call *c) {
    switch (c->answer.failure) {
    case MFFA_HTTP_UNREACHED: case MFFA_HTTP_LOST: case MFFA_HTTP_DAMAGED: return MFFA_RETRY_SOON;
    case MFFA_HTTP_FINE: return clock_is_off(s, c) ? MFFA_RETRY_CLOCK : mffa_retry_class(c->answer.status, c->code);
    default: return MFFA_RETRY_NEVER;
    }
}

/* When the next attempt shall be; false: there is none. */
static bool schedule(mffa_s3 *s, mffa_s3_call *c) {
    uint32_t random = 0;
    char after[32];
    mffa_retry class = class_of(s, c);
    if (class == MFFA_RETRY_CLOCK && !repair_clock(s, c)) return false;
    if (class == MFFA_RETRY_CREDENTIALS) {
        if (c->credentials_renewed || !mffa_credentials_expired(s->client->credentials, c->key_id)) return false;
        c->credentials_renewed = true;
    }
    if (class == MFFA_RETRY_NEVER || c->attempts >= MFFA_RETRY_ATTEMPTS || mffa_random_bytes(&random, sizeof random, NULL)) return false;
    int64_t after_ms = mffa_retry_after_ms(mffa_http_header(&c->answer, "Retry-After", after, sizeof after));
    c->wake_ms = mffa_now_ms() + mffa_retry_delay_ms(class, c->attempts, after_ms, random / 4294967296.0);
    return c->wake_ms < c->deadline_ms && mffa_retry_take(&s->client->budget);
}

static bool succeeded(const mffa_s3_call *c) {
    return c->answer.failure == MFFA_HTTP_FINE && c->answer.status >= 200 && c->answer.status <= 299 && !*c->code;
}

/* All of it came, and yet it is not what the server keeps: damaged on its way, or on the server's disks. */
static void compare(mffa_s3_call *c) {
    if (!succeeded(c) || mffa_checksum_matches(&c->sum)) return;
    c->answer.failure = MFFA_HTTP_DAMAGED;
    mffa_fail(&c->answer.err, MFFA_EIO, "what came does not match the server's checksum, %s %s: damaged on its way, or there",
              mffa_sum_name(c->sum.kind), c->sum.want);
}

static const char *operation_of(const mffa_s3_call *c) {
    const char *query = c->query ? c->query : "";
    bool post = strcmp(c->method, "POST") == 0, upload = strstr(query, "uploadId=");
    if (strcmp(c->method, "HEAD") == 0) return "head";
    if (strcmp(c->method, "GET") == 0) return !c->key ? "list" : "get";
    if (strcmp(c->method, "DELETE") == 0) return upload ? "abort_upload" : "delete";
    if (post) return upload ? "complete_upload" : c->key ? "create_upload" : "delete_many";
    return upload ? "put_part" : "put";
}

static void count(const mffa_s3_call *c, bool again) {
    const char *operation = operation_of(c);
    bool answered = c->answer.failure == MFFA_HTTP_FINE;
    const char *outcome = again ? "retried" : !answered ? "failed" : succeeded(c) ? "ok" : c->answer.status == 404 ? "absent" :
                          c->answer.status == 412 ? "taken" : "failed";
    mffa_stat_add(MFFA_STAT_S3_REQUESTS, operation, outcome, 1);
    mffa_stat_observe(MFFA_STAT_S3_SECONDS, operation, (double)(mffa_now_ms() - c->began_ms) / 1e3);
    mffa_stat_add(MFFA_STAT_S3_BYTES, "received", NULL, (double)c->answer.got);
    if (answered) mffa_stat_add(MFFA_STAT_S3_BYTES, "sent", NULL, (double)c->body.length); /* how far a broken one came is not known */
}

static void judge(mffa_s3 *s, mffa_s3_call *c) {
    mffa_s3_read_error(c);
    compare(c);
    bool again = !succeeded(c) && schedule(s, c);
    count(c, again);
    if (succeeded(c)) {
        mffa_retry_give(&s->client->budget, c->attempts > 1);
        c->rc = MFFA_OK;
        finish(s, c);
        return;
    }
    if (again) {
        c->next = s->waiting;
        s->waiting = c;
        return;
    }
    mffa_s3_explain(s, c);
    finish(s, c);
}

/* ---- the loop ---- */

void mffa_s3_start(mffa_s3 *s, mffa_s3_call *c) {
    s->running++;
    c->deadline_ms = mffa_now_ms() + s->client->deadline_ms;
    begin(s, c);
}

/* Begins what has waited long enough; the time until the next one that has not. */
static int64_t wake_up(mffa_s3 *s) {
    enum { A_WHILE_MS = 60000 };
    int64_t now = mffa_now_ms(), left = A_WHILE_MS;
    for (mffa_s3_call **at = &s->waiting; *at;) {
        mffa_s3_call *c = *at;
        if (c->wake_ms <= now) *at = c->next, begin(s, c);
        else at = &c->next, left = c->wake_ms - now < left ? c->wake_ms - now : left;
    }
    return left;
}

mffa_s3_call *mffa_s3_next(mffa_s3 *s, int64_t timeout_ms) {
    int64_t until = mffa_now_ms() + timeout_ms;
    while (s->running > 0) {
        int64_t wake = wake_up(s), left = until - mffa_now_ms();
        mffa_s3_call *c = s->finished;
        if (c) {
            s->finished = c->next;
            s->running--;
            return c;
        }
        c = mffa_http_wait(s->http, wake < left ? wake : left > 0 ? left : 0);
        if (c) judge(s, c);
        else if (left <= 0) return NULL;
    }
    return NULL;
}

mffa_s3_call *mffa_s3_wait(mffa_s3 *s) {
    enum { A_WHILE_MS = 60000 };
    mffa_s3_call *c = NULL;
    while (s->running > 0 && !c) c = mffa_s3_next(s, A_WHILE_MS);
    return c;
}

mffa_code mffa_s3_run(mffa_s3 *s, mffa_s3_call *c, mffa_err *err) {
    mffa_s3_start(s, c);
    (void)mffa_s3_wait(s);
    if (c->rc && err) *err = c->err;
    return c->rc;
}

void mffa_s3_abandon(mffa_s3 *s) {
    mffa_http_cancel(s->http);
    s->waiting = s->finished = NULL;
    s->running = 0;
}

/* Questions to the services that give credentials, and their answers. */
#include <ctype.h>
#include <string.h>
#include <time.h>
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/rng.h"
#include "storage/credentials_parts.h"
#include "storage/http.h"
#include "storage/retry.h"

enum { ANSWER_BYTES_MAX = 1 << 16, TOKEN_BYTES_MAX = 1 << 14 };

static mffa_code collect(void *ctx, const mffa_http_answer *a, int64_t at, mffa_span piece, mffa_err *err) {
    mffa_buf *out = ctx;
    (void)a;
    if (at == 0) mffa_buf_clear(out);
    if (out->len + piece.len > ANSWER_BYTES_MAX) return mffa_fail(err, MFFA_EIO, "the answer has more than %d bytes", ANSWER_BYTES_MAX);
    mffa_buf_put(out, piece.ptr, piece.len);
    return mffa_buf_check(out, err);
}

static mffa_code judge(const mffa_grant_question *q, const mffa_http_answer *a, mffa_buf *answer, mffa_err *err) {
    if (a->failure != MFFA_HTTP_FINE) return mffa_fail(err, MFFA_EIO, "%s did not answer: %s", q->service, a->err.msg);
    if (a->status >= 200 && a->status <= 299) return MFFA_OK;
    mffa_buf_clear(answer);
    mffa_buf_put(answer, mffa_buf_text(&a->text), a->text.len);
    bool passing = mffa_retry_class(a->status, "") != MFFA_RETRY_NEVER;
    return mffa_fail(err, passing ? MFFA_EIO : MFFA_EDENIED, "%s answers %d", q->service, a->status);
}

static mffa_code ask_once(mffa_http *h, const mffa_grant_question *q, mffa_buf *answer, mffa_err *err) {
    mffa_http_answer a = {0};
    mffa_http_body body = {.bytes = q->body, .fd = -1, .length = q->body ? (int64_t)strlen(q->body) : 0};
    bool sends = q->body || strcmp(q->method, "PUT") == 0;
    mffa_http_request r = {.method = q->method, .url = q->url, .headers = q->headers, .body = sends ? &body : NULL,
                           .sink = collect, .ctx = answer, .timeout_ms = q->limit_ms};
    mffa_buf_clear(answer);
    mffa_code rc = mffa_http_start(h, &r, &a, answer, err);
    while (!rc && !mffa_http_wait(h, q->limit_ms)) {}
    if (!rc) rc = judge(q, &a, answer, err);
    mffa_http_answer_done(&a);
    return rc;
}

mffa_code mffa_grant_ask(const mffa_grant_question *q, mffa_buf *answer, mffa_err *err) {
    mffa_http_options o = {.ca_file = mffa_environment("AWS_CA_BUNDLE"), .direct = q->direct, .connections = 1, .connect_ms = q->limit_ms,
                           .stall_ms = q->limit_ms};
    MFFA_AUTO(mffa_http_close_p) mffa_http *h = NULL;
    mffa_code rc = mffa_http_open(&o, &h, err);
    for (int attempts = 0; !rc;) {
        uint32_t random = 0;
        rc = ask_once(h, q, answer, err);
        if (rc != MFFA_EIO || ++attempts >= q->attempts || mffa_random_bytes(&random, sizeof random, NULL)) return rc;
        mffa_sleep_ms(mffa_retry_delay_ms(MFFA_RETRY_SOON, attempts, 0, random / 4294967296.0));
        rc = MFFA_OK;
    }
    return rc;
}

int64_t mffa_grant_time_s(const char *text) {
    struct tm t = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &t);
    if (end && *end == '.') end += 1 + strspn(end + 1, "0123456789");
    if (!end || (strcmp(end, "Z") != 0 && strcmp(end, "+00:00") != 0)) return 0;
    int64_t s = timegm(&t);
    return s > 0 ? s : 0;
}

mffa_code mffa_grant_read_json(const char *service, mffa_span document, mffa_grant *out, mffa_err *err) {
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = NULL;
    if (mffa_json_parse(document, &j, NULL)) /* its error would quote the answer */
        return mffa_fail(err, MFFA_EIO, "%s answers with something that is no JSON", service);
    const char *key_id = mffa_json_text(mffa_json_get(j, "AccessKeyId"), "");
    const char *secret = mffa_json_text(mffa_json_get(j, "SecretAccessKey"), "");
    const char *ends = mffa_json_text(mffa_json_get(j, "Expiration"), NULL);
    if (!*key_id || !*secret) return mffa_fail(err, MFFA_EDENIED, "%s answers without AccessKeyId or SecretAccessKey", service);
    int64_t expires_s = ends ? mffa_grant_time_s(ends) : 0;
    if (ends && !expires_s) return mffa_fail(err, MFFA_EIO, "%s answers with an Expiration that is no time", service);
    return mffa_grant_fill(out, key_id, secret, mffa_json_text(mffa_json_get(j, "Token"), NULL), expires_s, err);
}

bool mffa_grant_is_token(const char *text) {
    for (const char *at = text; *at; at++)
        if (!isgraph((unsigned char)*at) && *at != ' ') return false;
    return *text;
}

mffa_code mffa_grant_read_token(const char *path, mffa_buf *out, mffa_err *err) {
    mffa_code rc = mffa_buf_read_file(out, path, TOKEN_BYTES_MAX, err);
    if (rc) return mffa_wrap(err, rc == MFFA_EIO ? rc : MFFA_EDENIED, "the token of this machine's identity");
    while (out->len > 0 && isspace((unsigned char)out->ptr[out->len - 1])) out->ptr[--out->len] = '\0';
    if (out->len == strlen(mffa_buf_text(out)) && mffa_grant_is_token(mffa_buf_text(out))) return MFFA_OK;
    return mffa_fail(err, MFFA_EDENIED, "\"%s\" holds no token: expected one line of text", path);
}

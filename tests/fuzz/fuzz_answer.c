/* An answer of an S3 server: its headers, its error document, and the sentence that is made of them.
 * Input: a byte for the status, header lines, an empty line, the body. */
#include <ctype.h>
#include <string.h>
#include "storage/retry.h"
#include "storage/s3_store.h"
#include "tests/fuzz/fuzz.h"

static void try_header(const mffa_http_answer *a, const char *name) {
    char small[8], large[300];
    const char *value = mffa_http_header(a, name, large, sizeof large);
    size_t n = strlen(value);
    FUZZ_RULE(n < sizeof large && !strchr(value, '\n'));
    FUZZ_RULE(n == 0 || (!strchr(" \t\r", value[0]) && !strchr(" \t\r", value[n - 1])));
    FUZZ_RULE(strlen(mffa_http_header(a, name, small, sizeof small)) < sizeof small);
    FUZZ_RULE(strcmp(small, value) == 0 || !*small); /* whole or not at all */
    int64_t after_ms = mffa_retry_after_ms(value);
    FUZZ_RULE(after_ms >= 0 && after_ms <= 60000);
    FUZZ_RULE(mffa_http_date_s(value) >= -1);
}

static void try_etag(const mffa_http_answer *a) {
    char etag[MFFA_S3_ETAG];
    mffa_s3_etag(a, etag);
    FUZZ_RULE(strlen(etag) < sizeof etag);
}

static void try_range(const mffa_http_answer *a) {
    char value[96];
    mffa_http_range r = {-1, -1, -1};
    long long first = 0, last = 0, total = 0;
    if (!mffa_http_read_range(a, &r)) {
        FUZZ_RULE(r.first == -1 && r.last == -1 && r.total == -1); /* untouched */
        return;
    }
    FUZZ_RULE(r.first >= 0 && r.last >= r.first && r.total > r.last);
    (void)mffa_http_header(a, "Content-Range", value, sizeof value);
    FUZZ_RULE(sscanf(value + 6, "%lld-%lld/%lld", &first, &last, &total) == 3 && first == r.first && last == r.last && total == r.total);
}

static void try_error(mffa_s3_call *c) {
    static char host[] = "s3.example.com", region[] = "eu-1";
    static mffa_s3_client client = {.host = host, .region = region};
    mffa_s3 s = {.client = &client, .bucket = "plant"};
    mffa_s3_read_error(c);
    FUZZ_RULE(strlen(c->code) < sizeof c->code);
    bool success = c->answer.status >= 200 && c->answer.status <= 299;
    if (success && !*c->code) return;
    mffa_s3_explain(&s, c);
    FUZZ_RULE(c->rc != MFFA_OK && c->err.code == c->rc && c->rc != MFFA_EINVAL);
    FUZZ_RULE(strncmp(c->err.msg, "\"s3://plant/", 12) == 0);
    for (const char *at = c->err.msg; *at; at++) FUZZ_RULE(!iscntrl((unsigned char)*at));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    static const char *const names[] = {"ETag", "Date", "Location", "Retry-After", "x-amz-request-id", "x-amz-bucket-region"};
    static const int statuses[] = {200, 206, 301, 307, 400, 401, 403, 404, 409, 412, 416, 429, 500, 501, 503, 507};
    if (len == 0) return 0;
    MFFA_AUTO(mffa_free_p) char *text = fuzz_text(bytes + 1, len - 1);
    MFFA_AUTO(mffa_s3_call_done) mffa_s3_call c = {.method = bytes[0] & 16 ? "GET" : "PUT", .key = "key", .attempts = bytes[0] >> 6};
    c.answer.status = statuses[bytes[0] & 15];
    const char *body = strstr(text, "\n\n");
    size_t head = body ? (size_t)(body + 1 - text) : strlen(text);
    mffa_buf_put(&c.answer.headers, text, head);
    mffa_buf_puts(&c.text, body ? body + 2 : "");
    mffa_buf_puts(&c.answer.text, body ? body + 2 : "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) try_header(&c.answer, names[i]);
    try_etag(&c.answer);
    try_range(&c.answer);
    try_error(&c);
    return 0;
}

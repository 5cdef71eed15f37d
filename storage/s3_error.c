/* What a failed request means, in one sentence: bucket, key, status, code, request id, and what to do about it. */
#include <string.h>
#include "storage/s3_call.h"
#include "storage/xml.h"

typedef struct found { /* of an <Error>; what it does not say is "" */
    char code[64], message[160], region[64], endpoint[256];
} found;

static mffa_code note(void *ctx, const char *path, const char *text, mffa_err *err) {
    found *f = ctx;
    (void)err;
    if (strcmp(path, "Error/Code") == 0) snprintf(f->code, sizeof f->code, "%s", text);
    if (strcmp(path, "Error/Message") == 0) snprintf(f->message, sizeof f->message, "%s", text);
    if (strcmp(path, "Error/Region") == 0) snprintf(f->region, sizeof f->region, "%s", text);
    if (strcmp(path, "Error/Endpoint") == 0) snprintf(f->endpoint, sizeof f->endpoint, "%s", text);
    return MFFA_OK;
}

/* Is the first element of a document <Error>? */
static bool is_error(const mffa_buf *text) {
    const char *at = mffa_buf_text(text);
    at += strspn(at, " \t\r\n");
    if (strncmp(at, "<?xml", 5) == 0 && strstr(at, "?>")) at = strstr(at, "?>") + 2;
    at += strspn(at, " \t\r\n");
    return strncmp(at, "<Error>", 7) == 0 || strncmp(at, "<Error ", 7) == 0;
}

static const mffa_buf *error_text(const mffa_s3_call *c) {
    bool success = c->answer.status >= 200 && c->answer.status <= 299;
    return success ? &c->text : &c->answer.text;
}

/* A document that breaks off or is none says what it says until then. */
static found read_document(const mffa_s3_call *c) {
    found f = {0};
    (void)!mffa_xml_read(mffa_buf_span(error_text(c)), note, &f, NULL);
    return f;
}

void mffa_s3_read_error(mffa_s3_call *c) {
    c->code[0] = '\0';
    if (c->answer.failure != MFFA_HTTP_FINE) return;
    bool success = error_text(c) == &c->text;
    if (success && !is_error(&c->text)) return;
    found f = read_document(c);
    snprintf(c->code, sizeof c->code, "%s", *f.code || !success ? f.code : "UnreadableError"); /* no success, whatever it says */
}

static mffa_code code_of(const mffa_s3_call *c) {
    static const struct { const char *code; mffa_code rc; } codes[] = {
        {"QuotaExceeded", MFFA_ENOSPC},       {"XMinioStorageFull", MFFA_ENOSPC}, {"RequestTimeTooSkewed", MFFA_EDENIED},
        {"ExpiredToken", MFFA_EDENIED},       {"InvalidAccessKeyId", MFFA_EDENIED}, {"SignatureDoesNotMatch", MFFA_EDENIED},
        {"InvalidToken", MFFA_EDENIED},       {"AuthorizationHeaderMalformed", MFFA_EDENIED},
        {"AccessDenied", MFFA_EDENIED},
    };
    for (size_t i = 0; i < MFFA_COUNT(codes); i++)
        if (strcmp(codes[i].code, c->code) == 0) return codes[i].rc;
    if (mffa_retry_class(c->answer.status, c->code) != MFFA_RETRY_NEVER) return MFFA_EIO;
    switch (c->answer.status) {
    case 401: case 403: return MFFA_EDENIED;
    case 404: return MFFA_ENOTFOUND;
    case 412: return MFFA_EEXISTS;
    case 507: return MFFA_ENOSPC;
    case 501: return MFFA_EUNSUPPORTED;
    default: return c->answer.status >= 500 ? MFFA_EIO : MFFA_EUNSUPPORTED; /* not EINVAL: that would be the content's fault */
    }
}

static const struct { const char *code, *advice; } advices[] = {
    {"AccessDenied", "the credentials may not do this: look at the policies of user and bucket"},
    {"InvalidAccessKeyId", "the server does not know the access key: look at AWS_ACCESS_KEY_ID and MFFA_S3_ENDPOINT"},
    {"SignatureDoesNotMatch", "the secret does not belong to the access key: look at AWS_SECRET_ACCESS_KEY"},
    {"InvalidToken", "the session token is not valid here: look at AWS_SESSION_TOKEN"},
    {"ExpiredToken", "the session has ended: put fresh credentials where these came from"},
    {"RequestTimeTooSkewed", "this machine's clock is off: set it"},
    {"NoSuchBucket", "there is no such bucket at this server: look at the URL, MFFA_S3_ENDPOINT and MFFA_S3_REGION"},
    {"NoSuchUpload", "the upload was ended by somebody else, perhaps by a lifecycle rule"},
    {"SlowDown", "the server asks for fewer requests: lower MFFA_S3_CONCURRENCY"},
    {"XAmzContentSHA256Mismatch", "the content changed while it was sent"},
    {"BadDigest", "the content changed on its way"},
    {"EntityTooLarge", "raise MFFA_S3_PART_BYTES or lower the object's size"},
    {"NotImplemented", "this server lacks what was asked for"},
};

static const char *advice_for(const mffa_s3_call *c) {
    for (size_t i = 0; i < MFFA_COUNT(advices); i++)
        if (strcmp(advices[i].code, c->code) == 0) return advices[i].advice;
    if (c->answer.status == 403) return "the credentials may not do this, or the object is absent and they may not list";
    if (c->answer.status == 401) return "the credentials were not accepted";
    return NULL;
}

/* Redirects are not followed: the signature is for one host. The server says where the bucket is. */
static void explain_redirect(const mffa_s3_call *c, mffa_buf *out) {
    char location[512];
    found f = read_document(c);
    if (!*f.region) (void)mffa_http_header(&c->answer, "x-amz-bucket-region", f.region, sizeof f.region);
    if (!*f.endpoint) {
        const char *at = strstr(mffa_http_header(&c->answer, "Location", location, sizeof location), "://");
        if (at) snprintf(f.endpoint, sizeof f.endpoint, "%.*s", (int)strcspn(at + 3, "/?"), at + 3);
    }
    if (*f.region) mffa_buf_putf(out, "; the bucket is in region \"%s\": set MFFA_S3_REGION", f.region);
    else mffa_buf_putf(out, "; the server names another host, \"%s\", which is not followed: set MFFA_S3_ENDPOINT", f.endpoint);
}

static void put_answer(const mffa_s3_call *c, mffa_buf *out) {
    char id[128];
    found f = read_document(c);
    (void)mffa_http_header(&c->answer, "x-amz-request-id", id, sizeof id);
    mffa_buf_putf(out, "%s answers %d%s%s", c->method, c->answer.status, *c->code ? " " : "", c->code);
    if (*id) mffa_buf_putf(out, " (request %s)", id);
    if (*f.message && strcmp(f.message, c->code) != 0) mffa_buf_putf(out, " \"%s\"", f.message);
    if (c->attempts > 1) mffa_buf_putf(out, " after %d attempts", c->attempts);
    const char *advice = advice_for(c);
    if (c->answer.status >= 300 && c->answer.status <= 399) explain_redirect(c, out);
    else if (strcmp(c->code, "AuthorizationHeaderMalformed") == 0) explain_redirect(c, out);
    else if (advice) mffa_buf_putf(out, "; %s", advice);
}

static void put_failure(const mffa_s3 *s, const mffa_s3_call *c, mffa_buf *out) {
    const char *reason = c->answer.err.msg;
    switch (c->answer.failure) {
    case MFFA_HTTP_UNREACHED: mffa_buf_putf(out, "could not reach %s: %s; look at MFFA_S3_ENDPOINT", s->client->host, reason); break;
    case MFFA_HTTP_UNTRUSTED:
        mffa_buf_putf(out, "does not trust %s: %s; MFFA_S3_CA_FILE names the authority of its certificate", s->client->host, reason);
        break;
    case MFFA_HTTP_LOST: mffa_buf_putf(out, "lost %s during %s: %s", s->client->host, c->method, reason); break;
    default: mffa_buf_puts(out, reason);
    }
    if (c->attempts > 1) mffa_buf_putf(out, " (%d attempts)", c->attempts);
}

void mffa_s3_explain(const mffa_s3 *s, mffa_s3_call *c) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    bool answered = c->answer.failure == MFFA_HTTP_FINE;
    mffa_buf_putf(&text, "\"s3://%s/%.200s\": ", s->bucket, c->key ? c->key : "");
    if (answered) put_answer(c, &text);
    else put_failure(s, c, &text);
    c->rc = answered                                     ? code_of(c)
            : c->answer.failure == MFFA_HTTP_REFUSED     ? c->answer.err.code
            : c->answer.failure == MFFA_HTTP_UNTRUSTED   ? MFFA_EDENIED
                                                         : MFFA_EIO;
    mffa_fail(&c->err, c->rc, "%s", mffa_buf_text(&text));
}

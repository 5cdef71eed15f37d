/* The identity of a virtual machine: its metadata service, version 2 (a token first, so that a proxy cannot be talked into asking). */
#include <string.h>
#include <strings.h>
#include "storage/credentials_parts.h"
#include "storage/sign.h"

enum { LIMIT_MS = 1000 };
#define SERVICE "the instance's metadata service"
#define ROLES "/latest/meta-data/iam/security-credentials/"

/* One question, once: on a machine without this service it is what every start-up waits for. */
static mffa_code ask(const char *method, const char *path, const char *headers, mffa_buf *answer, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf url = {0};
    const char *endpoint = mffa_environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (!endpoint) endpoint = "http://169.254.169.254";
    size_t n = strlen(endpoint);
    mffa_buf_putf(&url, "%.*s%s", (int)(n > 0 && endpoint[n - 1] == '/' ? n - 1 : n), endpoint, path);
    mffa_code rc = mffa_buf_check(&url, err);
    return rc ? rc : mffa_grant_ask(&(mffa_grant_question){.service = SERVICE, .method = method, .url = mffa_buf_text(&url),
                                                           .headers = headers, .direct = true, .limit_ms = LIMIT_MS,
                                                           .attempts = 1}, answer, err);
}

/* The header that shows the token. */
static mffa_code put_token(mffa_buf *headers, mffa_err *err) {
    MFFA_AUTO(mffa_secret_done) mffa_buf token = {0};
    mffa_code rc = ask("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600\n", &token, err);
    if (rc) return mffa_fail(err, MFFA_ENOTFOUND, "%s gives none", SERVICE);
    if (!mffa_grant_is_token(mffa_buf_text(&token))) return mffa_fail(err, MFFA_EIO, "%s answers with something that is no token", SERVICE);
    mffa_buf_putf(headers, "X-aws-ec2-metadata-token: %s\n", mffa_buf_text(&token));
    return mffa_buf_check(headers, err);
}

/* The path of the role's credentials. */
static mffa_code put_path(const char *headers, mffa_buf *path, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf roles = {0};
    mffa_code rc = ask("GET", ROLES, headers, &roles, err);
    if (rc == MFFA_EDENIED) return mffa_fail(err, MFFA_ENOTFOUND, "the instance has no role");
    if (rc) return rc;
    if (roles.len) roles.ptr[strcspn(roles.ptr, "\r\n")] = '\0';
    if (!mffa_grant_is_token(mffa_buf_text(&roles))) return mffa_fail(err, MFFA_ENOTFOUND, "the instance has no role");
    mffa_buf_puts(path, ROLES);
    mffa_sign_encode(path, mffa_buf_text(&roles), false);
    return mffa_buf_check(path, err);
}

mffa_code mffa_grant_from_instance(const char *region, mffa_grant *out, mffa_err *err) {
    MFFA_AUTO(mffa_secret_done) mffa_buf headers = {0};
    MFFA_AUTO(mffa_secret_done) mffa_buf answer = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf path = {0};
    (void)region;
    const char *disabled = mffa_environment("AWS_EC2_METADATA_DISABLED");
    if (disabled && strcasecmp(disabled, "true") == 0) return mffa_fail(err, MFFA_ENOTFOUND, "AWS_EC2_METADATA_DISABLED=true");
    mffa_code rc = put_token(&headers, err);
    if (!rc) rc = put_path(mffa_buf_text(&headers), &path, err);
    if (!rc) rc = ask("GET", mffa_buf_text(&path), mffa_buf_text(&headers), &answer, err);
    return rc ? rc : mffa_grant_read_json(SERVICE, mffa_buf_span(&answer), out, err);
}

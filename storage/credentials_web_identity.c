/* A token that the cluster gives a pod, exchanged at STS for credentials of a role (AssumeRoleWithWebIdentity). */
#include <string.h>
#include "storage/credentials_parts.h"
#include "storage/sign.h"
#include "storage/xml.h"

enum { LIMIT_MS = 5000, ATTEMPTS = 3 };

typedef struct found { /* of the answer, whose root element servers name differently */
    mffa_buf key_id, secret, token;
    int64_t expires_s;
    char code[64];
} found;

static void found_done(found *f) {
    mffa_buf_done(&f->key_id);
    mffa_secret_done(&f->secret);
    mffa_secret_done(&f->token);
}

static bool ends_with(const char *path, const char *end) {
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

static mffa_code note(void *ctx, const char *path, const char *text, mffa_err *err) {
    found *f = ctx;
    (void)err;
    if (ends_with(path, "/Credentials/AccessKeyId")) mffa_buf_clear(&f->key_id), mffa_buf_puts(&f->key_id, text);
    if (ends_with(path, "/Credentials/SecretAccessKey")) mffa_buf_clear(&f->secret), mffa_buf_puts(&f->secret, text);
    if (ends_with(path, "/Credentials/SessionToken")) mffa_buf_clear(&f->token), mffa_buf_puts(&f->token, text);
    if (ends_with(path, "/Credentials/Expiration")) f->expires_s = mffa_grant_time_s(text);
    if (ends_with(path, "Error/Code")) snprintf(f->code, sizeof f->code, "%s", text);
    return MFFA_OK;
}

static mffa_code read_answer(const mffa_buf *answer, mffa_grant *out, mffa_err *err) {
    MFFA_AUTO(found_done) found f = {0};
    if (mffa_xml_read(mffa_buf_span(answer), note, &f, NULL)) return mffa_fail(err, MFFA_EIO, "STS answers with something that is no XML");
    if (!f.key_id.len || !f.secret.len || !f.token.len || !f.expires_s)
        return mffa_fail(err, MFFA_EDENIED, "STS answers without credentials: look at AWS_ENDPOINT_URL_STS");
    return mffa_grant_fill(out, mffa_buf_text(&f.key_id), mffa_buf_text(&f.secret), mffa_buf_text(&f.token), f.expires_s, err);
}

static mffa_code explain(mffa_code rc, const mffa_buf *answer, const char *role, mffa_err *err) {
    MFFA_AUTO(found_done) found f = {0};
    mffa_err why = err ? *err : (mffa_err){0};
    (void)!mffa_xml_read(mffa_buf_span(answer), note, &f, NULL);
    return mffa_fail(err, rc, "could not become the role \"%.200s\": %s%s%s; look at AWS_ROLE_ARN, the role's trust policy and "
                     "AWS_ENDPOINT_URL_STS", role, why.msg, *f.code ? " " : "", f.code);
}

static void put_field(mffa_buf *form, const char *name, const char *value) {
    mffa_buf_putf(form, "&%s=", name);
    mffa_sign_encode(form, value, false);
}

mffa_code mffa_grant_assume(const char *region, const char *token_file, const char *role, const char *session, mffa_grant *out,
                            mffa_err *err) {
    MFFA_AUTO(mffa_secret_done) mffa_buf token = {0};
    MFFA_AUTO(mffa_secret_done) mffa_buf form = {0};
    MFFA_AUTO(mffa_secret_done) mffa_buf answer = {0};
    const char *endpoint = mffa_environment("AWS_ENDPOINT_URL_STS");
    char amazon[160];
    mffa_code rc = mffa_grant_read_token(token_file, &token, err);
    if (rc) return rc;
    mffa_buf_puts(&form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
    put_field(&form, "RoleArn", role);
    put_field(&form, "RoleSessionName", session ? session : "mffa");
    put_field(&form, "WebIdentityToken", mffa_buf_text(&token));
    rc = mffa_buf_check(&form, err);
    if (rc) return rc;
    snprintf(amazon, sizeof amazon, "https://sts.%.100s.amazonaws.com%s", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    rc = mffa_grant_ask(&(mffa_grant_question){.service = "STS", .method = "POST", .url = endpoint ? endpoint : amazon,
                                               .headers = "Content-Type: application/x-www-form-urlencoded\nAccept: application/xml\n",
                                               .body = mffa_buf_text(&form), .limit_ms = LIMIT_MS, .attempts = ATTEMPTS}, &answer, err);
    return rc ? explain(rc, &answer, role, err) : read_answer(&answer, out, err);
}

mffa_code mffa_grant_from_web_identity(const char *region, mffa_grant *out, mffa_err *err) {
    const char *file = mffa_environment("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = mffa_environment("AWS_ROLE_ARN");
    if (!file) return mffa_fail(err, MFFA_ENOTFOUND, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
    if (!role) return mffa_fail(err, MFFA_EDENIED, "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not: set both");
    return mffa_grant_assume(region, file, role, mffa_environment("AWS_ROLE_SESSION_NAME"), out, err);
}

/* The identity of a container (ECS) or pod (EKS Pod Identity): a service beside it answers with credentials. */
#include <string.h>
#include <strings.h>
#include "storage/credentials_parts.h"

enum { LIMIT_MS = 2000, ATTEMPTS = 3 };
#define SERVICE "the service of AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI"

/* Without TLS only this machine and the two addresses that AWS' agents have on it may see the token. */
static bool is_near(const char *url) {
    static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
    const char *host = url + strlen("http://");
    if (memchr(host, '@', strcspn(host, "/"))) return false; /* what looks like the host is a user's name */
    for (size_t i = 0; i < MFFA_COUNT(hosts); i++) {
        size_t n = strlen(hosts[i]);
        if (strncasecmp(host, hosts[i], n) == 0 && strchr(":/", host[n])) return true; /* the end of the text too */
    }
    return false;
}

static mffa_code find_url(mffa_buf *out, mffa_err *err) {
    const char *relative = mffa_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = mffa_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full) return mffa_fail(err, MFFA_ENOTFOUND, "AWS_CONTAINER_CREDENTIALS_FULL_URI is not set");
    if (relative && *relative != '/')
        return mffa_fail(err, MFFA_EDENIED, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not start with \"/\"");
    if (!relative && strncasecmp(full, "https://", 8) != 0 && (strncasecmp(full, "http://", 7) != 0 || !is_near(full)))
        return mffa_fail(err, MFFA_EDENIED, "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor http:// on this machine");
    mffa_buf_putf(out, "%s%s", relative ? "http://169.254.170.2" : "", relative ? relative : full);
    return mffa_buf_check(out, err);
}

static mffa_code put_authorization(mffa_buf *headers, mffa_err *err) {
    MFFA_AUTO(mffa_secret_done) mffa_buf token = {0};
    const char *file = mffa_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *given = mffa_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    mffa_code rc = file ? mffa_grant_read_token(file, &token, err) : MFFA_OK; /* every time: it is renewed in place */
    if (rc) return rc;
    if (!file && given && !mffa_grant_is_token(given))
        return mffa_fail(err, MFFA_EDENIED, "AWS_CONTAINER_AUTHORIZATION_TOKEN has characters that no token has");
    if (file || given) mffa_buf_putf(headers, "Authorization: %s\n", file ? mffa_buf_text(&token) : given);
    return mffa_buf_check(headers, err);
}

mffa_code mffa_grant_from_container(const char *region, mffa_grant *out, mffa_err *err) {
    MFFA_AUTO(mffa_secret_done) mffa_buf url = {0};
    MFFA_AUTO(mffa_secret_done) mffa_buf headers = {0};
    MFFA_AUTO(mffa_secret_done) mffa_buf answer = {0};
    (void)region;
    mffa_code rc = find_url(&url, err);
    mffa_buf_puts(&headers, "Accept: application/json\n");
    if (!rc) rc = put_authorization(&headers, err);
    if (rc) return rc;
    rc = mffa_grant_ask(&(mffa_grant_question){.service = SERVICE, .method = "GET", .url = mffa_buf_text(&url),
                                               .headers = mffa_buf_text(&headers), .direct = true, .limit_ms = LIMIT_MS,
                                               .attempts = ATTEMPTS}, &answer, err);
    return rc ? rc : mffa_grant_read_json(SERVICE, mffa_buf_span(&answer), out, err);
}

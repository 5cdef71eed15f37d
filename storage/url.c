#include "storage/url.h"

#include <ctype.h>
#include <string.h>

enum { KEY_MAX_BYTES = 1024, URL_MAX_BYTES = 4096 };

/* The first segment of path that may not stand in a path; NULL: none. */
static const char *bad_segment(const char *path) {
    for (const char *at = path;; at++) {
        size_t n = strcspn(at, "/");
        if (n == 0) return "an empty segment";
        if (n == 1 && at[0] == '.') return "a \".\" segment";
        if (n == 2 && at[0] == '.' && at[1] == '.') return "a \"..\" segment";
        at += n;
        if (*at == '\0') return NULL;
    }
}

static bool has_control(const char *text) {
    for (; *text; text++)
        if (iscntrl((unsigned char)*text)) return true;
    return false;
}

mffa_code mffa_key_check(const char *key, mffa_err *err) {
    if (!key || !*key) return mffa_fail(err, MFFA_EDENIED, "key is empty");
    if (has_control(key)) return mffa_fail(err, MFFA_EDENIED, "key \"%.80s\" has a control character", key);
    if (strlen(key) > KEY_MAX_BYTES)
        return mffa_fail(err, MFFA_EDENIED, "key \"%.80s...\" has %zu bytes: at most %d", key, strlen(key), KEY_MAX_BYTES);
    const char *bad = bad_segment(key);
    return bad ? mffa_fail(err, MFFA_EDENIED, "key \"%s\" has %s", key, bad) : MFFA_OK;
}

static bool bucket_ok(const char *name, size_t len) {
    if (len < 3 || len > 63) return false;
    for (size_t i = 0; i < len; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) && (!strchr(".-", name[i]) || i == 0 || i + 1 == len))
            return false;
    return true;
}

static mffa_code not_a_url(const char *text, const char *why, mffa_err *err) {
    return mffa_fail(err, MFFA_EINVAL, "\"%.200s\" %s: give s3://bucket/prefix or file:///absolute/path", text, why);
}

static mffa_code parse_file(const char *text, mffa_url *out, mffa_err *err) {
    const char *path = text + strlen("file://");
    if (*path != '/') return not_a_url(text, "names no absolute path", err);
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') len--;
    MFFA_AUTO(mffa_free_p) char *copy = strndup(path, len);
    if (!copy) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    const char *bad = len > 1 ? bad_segment(copy + 1) : NULL;
    if (bad) return mffa_fail(err, MFFA_EINVAL, "\"%.200s\" has %s", text, bad);
    *out = (mffa_url){MFFA_FILE, NULL, MFFA_TAKE(copy)};
    return MFFA_OK;
}

static mffa_code parse_s3(const char *text, mffa_url *out, mffa_err *err) {
    const char *bucket = text + strlen("s3://");
    size_t n = strcspn(bucket, "/");
    if (!bucket_ok(bucket, n)) return not_a_url(text, "names no bucket (3 to 63 lower-case letters, digits, \".\" or \"-\")", err);
    const char *prefix = bucket + n + (bucket[n] == '/');
    size_t len = strlen(prefix);
    while (len > 0 && prefix[len - 1] == '/') len--;
    MFFA_AUTO(mffa_free_p) char *name = strndup(bucket, n);
    MFFA_AUTO(mffa_free_p) char *path = strndup(prefix, len);
    if (!name || !path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    const char *bad = len > 0 ? bad_segment(path) : NULL;
    if (bad) return mffa_fail(err, MFFA_EINVAL, "\"%.200s\" has %s", text, bad);
    *out = (mffa_url){MFFA_S3, MFFA_TAKE(name), MFFA_TAKE(path)};
    return MFFA_OK;
}

mffa_code mffa_url_parse(const char *text, mffa_url *out, mffa_err *err) {
    if (!text || !*text) return not_a_url("", "is no URL", err);
    if (has_control(text)) return not_a_url(text, "has a control character", err);
    if (strlen(text) > URL_MAX_BYTES) return not_a_url(text, "is too long (at most 4096 bytes)", err);
    if (strncmp(text, "file://", strlen("file://")) == 0) return parse_file(text, out, err);
    if (strncmp(text, "s3://", strlen("s3://")) == 0) return parse_s3(text, out, err);
    return not_a_url(text, "is no URL", err);
}

void mffa_url_done(mffa_url *u) {
    if (!u) return;
    free(u->bucket);
    free(u->path);
    *u = (mffa_url){0};
}

char *mffa_url_join(const char *base, const char *key) {
    size_t n = strlen(base);
    while (n > 0 && base[n - 1] == '/') n--;
    char *joined = NULL;
    return asprintf(&joined, "%.*s/%s", (int)n, base, key) < 0 ? NULL : joined;
}

/* entry "s3://plant/out" or "s3://plant/out/" covers "s3://plant/out" and everything below it, not "s3://plant/outer". */
static bool covers(const char *entry, size_t len, const char *url) {
    if (len == 0) return false;
    size_t n = strlen(url);
    if (entry[len - 1] == '/') return strncmp(url, entry, len) == 0 || (n == len - 1 && strncmp(url, entry, n) == 0);
    return strncmp(url, entry, len) == 0 && (url[len] == '\0' || url[len] == '/');
}

static bool listed(const char *url, const char *allowed) {
    for (const char *at = allowed; *at;) {
        size_t n = strcspn(at, ","), skip = strspn(at, " \t");
        size_t len = n > skip ? n - skip : 0;
        while (len > 0 && isspace((unsigned char)at[skip + len - 1])) len--;
        if (covers(at + skip, len, url)) return true;
        at += n + (at[n] == ',');
    }
    return false;
}

mffa_code mffa_url_allowed(const char *url, const char *allowed, mffa_err *err) {
    mffa_url parsed = {0};
    mffa_code rc = mffa_url_parse(url, &parsed, err);
    if (rc) return rc;
    mffa_scheme scheme = parsed.scheme;
    mffa_url_done(&parsed);
    if (allowed ? listed(url, allowed) : scheme == MFFA_S3) return MFFA_OK;
    if (!allowed)
        return mffa_fail(err, MFFA_EDENIED, "\"%.300s\" is not allowed here: without MFFA_ALLOWED_URLS a worker takes s3:// only", url);
    return mffa_fail(err, MFFA_EDENIED, "\"%.200s\" is not allowed here: the worker's MFFA_ALLOWED_URLS is \"%.200s\"", url, allowed);
}

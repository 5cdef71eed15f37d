#include "scheduler/redis.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <hiredis/hiredis.h>

enum { CONNECT_MS = 5000, ANSWER_MS = 10000, PASSWORD_BYTES = 4096 };

struct mffa_redis {
    redisContext *ctx; /* NULL: not connected */
    char *host, *path; /* one of them */
    char *user, *password;
    int port, db;
    int64_t answer_ms; /* what ctx is set to */
};

/* ---- address ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* A copy of len bytes with %XX decoded; NULL when out of memory. */
static char *decoded(const char *text, size_t len) {
    char *out = malloc(len + 1), *to = out;
    if (!out) return NULL;
    for (size_t i = 0; i < len; i++) {
        bool escape = text[i] == '%' && i + 2 < len && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
        *to++ = escape ? (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i];
        if (escape) i += 2;
    }
    *to = '\0';
    return out;
}

static mffa_code parse_number(const char *what, const char *text, size_t len, int max, int *out, mffa_err *err) {
    int64_t v = 0;
    bool good = len > 0;
    for (size_t i = 0; good && i < len; i++) {
        v = v * 10 + (text[i] - '0');
        good = isdigit((unsigned char)text[i]) && v <= max;
    }
    if (!good) return mffa_fail(err, MFFA_EINVAL, "Redis %s \"%.*s\": expected an integer from 0 to %d", what, (int)len, text, max);
    *out = (int)v;
    return MFFA_OK;
}

static mffa_code parse_login(mffa_redis *r, const char *text, size_t len, mffa_err *err) {
    const char *colon = memchr(text, ':', len);
    size_t user = colon ? (size_t)(colon - text) : len;
    if (user && !(r->user = decoded(text, user))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (colon && !(r->password = decoded(colon + 1, len - user - 1))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    return MFFA_OK;
}

static mffa_code parse_host(mffa_redis *r, const char *text, size_t len, mffa_err *err) {
    const char *end = text + len, *host_end = end, *port = NULL;
    if (len && *text == '[') { /* IPv6 */
        const char *bracket = memchr(text, ']', len);
        if (!bracket) return mffa_fail(err, MFFA_EINVAL, "Redis host \"%.*s\": expected ] after the IPv6 address", (int)len, text);
        host_end = bracket;
        if (bracket + 1 < end && bracket[1] == ':') port = bracket + 2;
        text++;
    } else {
        const char *colon = memchr(text, ':', len);
        if (colon) host_end = colon, port = colon + 1;
    }
    if (host_end == text) return mffa_fail(err, MFFA_EINVAL, "the Redis URL names no host: expected redis://host:port/db");
    r->port = 6379;
    r->host = strndup(text, (size_t)(host_end - text));
    if (!r->host) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    return port ? parse_number("port", port, (size_t)(end - port), 65535, &r->port, err) : MFFA_OK;
}

static mffa_code parse_tcp(mffa_redis *r, const char *rest, mffa_err *err) {
    size_t len = strcspn(rest, "/");
    const char *at = memrchr(rest, '@', len);
    mffa_code rc = at ? parse_login(r, rest, (size_t)(at - rest), err) : MFFA_OK;
    const char *host = at ? at + 1 : rest;
    if (!rc) rc = parse_host(r, host, len - (size_t)(host - rest), err);
    if (!rc && rest[len] && rest[len + 1]) rc = parse_number("database", rest + len + 1, strlen(rest + len + 1), 1 << 20, &r->db, err);
    return rc;
}

static mffa_code parse_unix(mffa_redis *r, const char *rest, mffa_err *err) {
    const char *option = strstr(rest, "?db=");
    size_t login = strcspn(rest, "/");
    if (login && rest[login - 1] == '@') { /* unix://user:password@/path */
        mffa_code rc = parse_login(r, rest, login - 1, err);
        if (rc) return rc;
        rest += login;
    }
    r->path = decoded(rest, option ? (size_t)(option - rest) : strlen(rest));
    if (!r->path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (*r->path != '/') return mffa_fail(err, MFFA_EINVAL, "the Redis URL's socket path \"%s\" is not absolute: expected unix:///path/to.sock", r->path);
    return option ? parse_number("database", option + 4, strlen(option + 4), 1 << 20, &r->db, err) : MFFA_OK;
}

static mffa_code parse_url(mffa_redis *r, const char *url, mffa_err *err) {
    if (strncmp(url, "redis://", 8) == 0) return parse_tcp(r, url + 8, err);
    if (strncmp(url, "unix://", 7) == 0) return parse_unix(r, url + 7, err);
    if (strncmp(url, "rediss://", 9) == 0)
        return mffa_fail(err, MFFA_EUNSUPPORTED, "this build cannot speak TLS to Redis: use redis:// through a TLS tunnel, or unix://");
    return mffa_fail(err, MFFA_EINVAL, "the Redis URL starts with \"%.*s\": expected redis://host:port/db or unix:///path/to.sock",
                     (int)strcspn(url, ":/@"), url);
}

static mffa_code read_password(mffa_redis *r, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_code rc = mffa_buf_read_file(&text, path, PASSWORD_BYTES, err);
    if (rc) return mffa_wrap(err, rc, "password file");
    free(r->password);
    r->password = strndup(mffa_buf_text(&text), strcspn(mffa_buf_text(&text), "\r\n"));
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    return r->password ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

mffa_code mffa_redis_open(const char *url, const char *password_file, mffa_redis **out, mffa_err *err) {
    MFFA_AUTO(mffa_redis_close_p) mffa_redis *r = calloc(1, sizeof *r);
    if (!r) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = parse_url(r, url, err);
    if (!rc && password_file) rc = read_password(r, password_file, err);
    if (!rc) *out = MFFA_TAKE(r);
    return rc;
}

static void disconnect(mffa_redis *r) {
    redisFree(r->ctx);
    r->ctx = NULL;
}

void mffa_redis_close(mffa_redis *r) {
    if (!r) return;
    if (r->ctx) disconnect(r);
    if (r->password) explicit_bzero(r->password, strlen(r->password));
    free(r->host), free(r->path), free(r->user), free(r->password);
    free(r);
}

/* ---- errors ---- */

static mffa_code where(const mffa_redis *r, mffa_code code, const char *what, const char *why, mffa_err *err) {
    if (r->path) return mffa_fail(err, code, "%s Redis at \"%s\": %s", what, r->path, why);
    return mffa_fail(err, code, "%s Redis at \"%s:%d\": %s", what, r->host, r->port, why);
}

static mffa_code code_of(const char *answer) {
    static const struct { const char *word; mffa_code code; } known[] = {
        {"FENCED", MFFA_EFENCED},      {"NOTFOUND", MFFA_ENOTFOUND}, {"FULL", MFFA_ENOSPC},       {"OOM", MFFA_ENOSPC},
        {"NOPERM", MFFA_EDENIED},      {"NOAUTH", MFFA_EDENIED},     {"WRONGPASS", MFFA_EDENIED}, {"OLDLIB", MFFA_EUNSUPPORTED},
        {"LOADING", MFFA_EIO},         {"READONLY", MFFA_EIO},       {"MASTERDOWN", MFFA_EIO},    {"BUSY", MFFA_EIO},
        {"CLUSTERDOWN", MFFA_EIO},     {"TRYAGAIN", MFFA_EIO},       {"MISCONF", MFFA_EIO},       {"NOREPLICAS", MFFA_EIO},
        {"UNBLOCKED", MFFA_EIO},
    };
    size_t len = strcspn(answer, " ");
    for (size_t i = 0; i < MFFA_COUNT(known); i++)
        if (strlen(known[i].word) == len && memcmp(known[i].word, answer, len) == 0) return known[i].code;
    return MFFA_EINVAL;
}

/* ---- connection ---- */

static struct timeval timeval_of(int64_t ms) { return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}; }

static mffa_code exchange(mffa_redis *r, int n, const char **argv, const size_t *len, mffa_reply **out, mffa_err *err) {
    redisReply *reply = redisCommandArgv(r->ctx, n, argv, len);
    if (!reply) {
        const char *why = r->ctx->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK) ? "no answer in time" : r->ctx->errstr;
        mffa_code rc = where(r, MFFA_EIO, "lost", why, err);
        disconnect(r);
        return rc;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        mffa_code rc = mffa_fail(err, code_of(reply->str), "%s", reply->str);
        freeReplyObject(reply);
        if (rc == MFFA_EIO) disconnect(r); /* a replica that was a master, a server that loads: find out anew */
        return rc;
    }
    *out = (mffa_reply *)reply;
    return MFFA_OK;
}

static mffa_code greet(mffa_redis *r, const char *first, const char *second, const char *third, mffa_err *err) {
    const char *argv[3] = {first, second, third};
    size_t len[3] = {strlen(first), strlen(second), third ? strlen(third) : 0};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    return exchange(r, third ? 3 : 2, argv, len, &reply, err);
}

static mffa_code log_in(mffa_redis *r, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    if (r->password && r->user) rc = greet(r, "AUTH", r->user, r->password, err);
    else if (r->password) rc = greet(r, "AUTH", r->password, NULL, err);
    if (rc && rc != MFFA_EIO) return where(r, MFFA_EDENIED, "cannot log in to", "user name or password is wrong", err);
    char db[16];
    snprintf(db, sizeof db, "%d", r->db);
    if (!rc && r->db) rc = greet(r, "SELECT", db, NULL, err);
    return rc;
}

static mffa_code connect_now(mffa_redis *r, mffa_err *err) {
    r->ctx = r->path ? redisConnectUnixWithTimeout(r->path, timeval_of(CONNECT_MS)) : redisConnectWithTimeout(r->host, r->port, timeval_of(CONNECT_MS));
    if (!r->ctx) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (r->ctx->err) {
        mffa_code rc = where(r, MFFA_EIO, "could not connect to", r->ctx->errstr, err);
        disconnect(r);
        return rc;
    }
    r->answer_ms = ANSWER_MS;
    mffa_code rc = redisSetTimeout(r->ctx, timeval_of(ANSWER_MS)) ? where(r, MFFA_EIO, "could not set time-outs for", strerror(errno), err) : MFFA_OK;
    if (!rc && r->host && redisEnableKeepAlive(r->ctx)) rc = where(r, MFFA_EIO, "could not set keep-alive for", r->ctx->errstr, err);
    if (!rc) rc = log_in(r, err);
    if (rc && r->ctx) disconnect(r);
    return rc;
}

mffa_code mffa_redis_command(mffa_redis *r, const mffa_span *words, size_t n, int64_t wait_ms, mffa_reply **out, mffa_err *err) {
    if (n == 0 || n > INT_MAX) return mffa_fail(err, MFFA_EINVAL, "a Redis command of %zu words", n);
    mffa_code rc = r->ctx ? MFFA_OK : connect_now(r, err);
    if (rc) return rc;
    if (wait_ms <= 0) wait_ms = ANSWER_MS;
    if (wait_ms != r->answer_ms) {
        if (redisSetTimeout(r->ctx, timeval_of(wait_ms))) return where(r, MFFA_EIO, "could not set time-outs for", strerror(errno), err);
        r->answer_ms = wait_ms;
    }
    MFFA_AUTO(mffa_free_p) const char **argv = mffa_alloc_array(n, sizeof *argv);
    MFFA_AUTO(mffa_free_p) size_t *len = mffa_alloc_array(n, sizeof *len);
    if (!argv || !len) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) argv[i] = words[i].ptr, len[i] = words[i].len;
    return exchange(r, (int)n, argv, len, out, err);
}

/* ---- replies: mffa_reply is hiredis' redisReply, seen by nobody else ---- */

static const redisReply *seen(const mffa_reply *r) { return (const redisReply *)r; }

void mffa_reply_close(mffa_reply *r) {
    if (r) freeReplyObject(r);
}

size_t mffa_reply_size(const mffa_reply *r) { return r && seen(r)->type == REDIS_REPLY_ARRAY ? seen(r)->elements : 0; }

const mffa_reply *mffa_reply_at(const mffa_reply *r, size_t i) { return i < mffa_reply_size(r) ? (const mffa_reply *)seen(r)->element[i] : NULL; }

mffa_span mffa_reply_bytes(const mffa_reply *r) {
    if (!r || (seen(r)->type != REDIS_REPLY_STRING && seen(r)->type != REDIS_REPLY_STATUS)) return (mffa_span){"", 0};
    return (mffa_span){seen(r)->str, (size_t)seen(r)->len};
}

const char *mffa_reply_text(const mffa_reply *r, const char *otherwise) {
    bool text = r && (seen(r)->type == REDIS_REPLY_STRING || seen(r)->type == REDIS_REPLY_STATUS);
    return text ? seen(r)->str : otherwise;
}

int64_t mffa_reply_int(const mffa_reply *r, int64_t otherwise) {
    if (r && seen(r)->type == REDIS_REPLY_INTEGER) return seen(r)->integer;
    const char *text = mffa_reply_text(r, "");
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    return errno || end == text || *end ? otherwise : v;
}

bool mffa_reply_is_nil(const mffa_reply *r) { return r && seen(r)->type == REDIS_REPLY_NIL; }

const mffa_reply *mffa_reply_field(const mffa_reply *r, const char *name) {
    for (size_t i = 0; i + 1 < mffa_reply_size(r); i += 2)
        if (mffa_span_is(mffa_reply_bytes(mffa_reply_at(r, i)), name)) return mffa_reply_at(r, i + 1);
    return NULL;
}

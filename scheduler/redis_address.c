#include "scheduler/redis_address.h"

#include <ctype.h>
#include <string.h>

enum { REDIS_PORT = 6379, SENTINEL_PORT = 26379, DB_MAX = 1 << 20 };

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

static mffa_code parse_login(mffa_redis_address *a, const char *text, size_t len, mffa_err *err) {
    const char *colon = memchr(text, ':', len);
    size_t user = colon ? (size_t)(colon - text) : len;
    if (user && !(a->user = decoded(text, user))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (colon && !(a->password = decoded(colon + 1, len - user - 1))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    return MFFA_OK;
}

static mffa_code parse_node(mffa_redis_node *out, const char *text, size_t len, int port_otherwise, mffa_err *err) {
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
    size_t n = (size_t)(host_end - text);
    if (n == 0) return mffa_fail(err, MFFA_EINVAL, "the Redis URL names no host: expected redis://host:port/db");
    if (n >= sizeof out->host)
        return mffa_fail(err, MFFA_EINVAL, "a host in the Redis URL has %zu characters: expected at most %zu", n, sizeof out->host - 1);
    memcpy(out->host, text, n);
    out->host[n] = '\0';
    out->port = port_otherwise;
    return port ? parse_number("port", port, (size_t)(end - port), 65535, &out->port, err) : MFFA_OK;
}

static mffa_code parse_nodes(mffa_redis_address *a, const char *text, size_t len, int port_otherwise, mffa_err *err) {
    for (const char *end = text + len;;) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        if (a->count == MFFA_REDIS_NODES_MAX)
            return mffa_fail(err, MFFA_EINVAL, "the Redis URL names more than %d hosts", MFFA_REDIS_NODES_MAX);
        mffa_code rc = parse_node(&a->node[a->count++], text, (size_t)((comma ? comma : end) - text), port_otherwise, err);
        if (rc || !comma) return rc;
        text = comma + 1;
    }
}

static mffa_code parse_db(mffa_redis_address *a, const char *text, mffa_err *err) {
    return *text ? parse_number("database", text, strlen(text), DB_MAX, &a->db, err) : MFFA_OK;
}

/* login@hosts; *rest is what follows the first slash, "" without one. */
static mffa_code parse_hosts(mffa_redis_address *a, const char *text, int port_otherwise, const char **rest, mffa_err *err) {
    size_t len = strcspn(text, "/");
    const char *at = memrchr(text, '@', len), *host = at ? at + 1 : text;
    mffa_code rc = at ? parse_login(a, text, (size_t)(at - text), err) : MFFA_OK;
    if (!rc) rc = parse_nodes(a, host, len - (size_t)(host - text), port_otherwise, err);
    *rest = text[len] ? text + len + 1 : "";
    return rc;
}

static mffa_code parse_tcp(mffa_redis_address *a, const char *text, mffa_err *err) {
    const char *rest;
    mffa_code rc = parse_hosts(a, text, REDIS_PORT, &rest, err);
    return rc ? rc : parse_db(a, rest, err);
}

static mffa_code parse_sentinel(mffa_redis_address *a, const char *text, mffa_err *err) {
    const char *rest;
    mffa_code rc = parse_hosts(a, text, SENTINEL_PORT, &rest, err);
    if (rc) return rc;
    size_t name = strcspn(rest, "/");
    if (name == 0) return mffa_fail(err, MFFA_EINVAL, "the Redis URL names no master: expected redis+sentinel://host:26379/master");
    a->master = decoded(rest, name);
    return a->master ? parse_db(a, rest[name] ? rest + name + 1 : "", err) : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

static mffa_code parse_unix(mffa_redis_address *a, const char *text, mffa_err *err) {
    const char *option = strstr(text, "?db=");
    size_t login = strcspn(text, "/");
    if (login && text[login - 1] == '@') { /* unix://user:password@/path */
        mffa_code rc = parse_login(a, text, login - 1, err);
        if (rc) return rc;
        text += login;
    }
    a->path = decoded(text, option ? (size_t)(option - text) : strlen(text));
    if (!a->path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (*a->path != '/')
        return mffa_fail(err, MFFA_EINVAL, "the Redis URL's socket path \"%s\" is not absolute: expected unix:///path/to.sock", a->path);
    return option ? parse_number("database", option + 4, strlen(option + 4), DB_MAX, &a->db, err) : MFFA_OK;
}

mffa_code mffa_redis_address_parse(const char *url, mffa_redis_address *out, mffa_err *err) {
    static const struct {
        const char *scheme;
        bool tls;
        mffa_code (*parse)(mffa_redis_address *a, const char *text, mffa_err *err);
    } known[] = {{"redis://", false, parse_tcp},
                 {"rediss://", true, parse_tcp},
                 {"redis+sentinel://", false, parse_sentinel},
                 {"rediss+sentinel://", true, parse_sentinel},
                 {"unix://", false, parse_unix}};
    *out = (mffa_redis_address){0};
    for (size_t i = 0; i < MFFA_COUNT(known); i++) {
        size_t len = strlen(known[i].scheme);
        if (strncmp(url, known[i].scheme, len) != 0) continue;
        out->tls = known[i].tls;
        return known[i].parse(out, url + len, err);
    }
    return mffa_fail(
        err, MFFA_EINVAL,
        "the Redis URL starts with \"%.*s\": expected redis://host:port/db, rediss://, redis+sentinel:// or unix:///path/to.sock",
        (int)strcspn(url, ":/@"), url);
}

void mffa_redis_address_done(mffa_redis_address *a) {
    if (a->password) explicit_bzero(a->password, strlen(a->password));
    free(a->path), free(a->master), free(a->user), free(a->password);
    *a = (mffa_redis_address){0};
}

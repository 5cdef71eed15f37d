#include "scheduler/redis.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/time.h>
#include <hiredis/hiredis.h>
#include "scheduler/redis_address.h"
#include "scheduler/redis_tls.h"

enum { CONNECT_MS = 5000, ANSWER_MS = 10000, PASSWORD_BYTES = 4096, HOPS_MAX = 8 };

struct mffa_redis {
    redisContext *ctx; /* NULL: not connected */
    mffa_redis_address address;
    mffa_redis_tls *tls;   /* NULL: plain */
    size_t first;          /* the host that answered last: it is tried first */
    mffa_redis_node at;    /* whom ctx speaks to, or was to */
    mffa_redis_node moved; /* a Cluster's node that we were sent to; port 0: none */
    int64_t answer_ms;     /* what ctx is set to */
};

static mffa_code read_password(mffa_redis *r, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_code rc = mffa_buf_read_file(&text, path, PASSWORD_BYTES, err);
    if (rc) return mffa_wrap(err, rc, "password file");
    free(r->address.password);
    r->address.password = strndup(mffa_buf_text(&text), strcspn(mffa_buf_text(&text), "\r\n"));
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    return r->address.password ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

mffa_code mffa_redis_open(const mffa_queue_options *o, mffa_redis **out, mffa_err *err) {
    MFFA_AUTO(mffa_redis_close_p) mffa_redis *r = calloc(1, sizeof *r);
    if (!r) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_redis_address_parse(o->url, &r->address, err);
    if (!rc && o->password_file) rc = read_password(r, o->password_file, err);
    if (!rc && r->address.tls) rc = mffa_redis_tls_open(o->ca_file, o->cert_file, o->key_file, &r->tls, err);
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
    mffa_redis_tls_close(r->tls);
    mffa_redis_address_done(&r->address);
    free(r);
}

/* ---- errors ---- */

static mffa_code where(const mffa_redis *r, mffa_code code, const char *what, const char *why, mffa_err *err) {
    if (r->address.path) return mffa_fail(err, code, "%s Redis at \"%s\": %s", what, r->address.path, why);
    return mffa_fail(err, code, "%s Redis at \"%s:%d\": %s", what, r->at.host, r->at.port, why);
}

static mffa_code code_of(const char *answer) {
    static const struct { const char *word; mffa_code code; } known[] = {
        {"FENCED", MFFA_EFENCED},      {"NOTFOUND", MFFA_ENOTFOUND}, {"FULL", MFFA_ENOSPC},       {"OOM", MFFA_ENOSPC},
        {"NOPERM", MFFA_EDENIED},      {"NOAUTH", MFFA_EDENIED},     {"WRONGPASS", MFFA_EDENIED}, {"OLDLIB", MFFA_EUNSUPPORTED},
        {"LOADING", MFFA_EIO},         {"READONLY", MFFA_EIO},       {"MASTERDOWN", MFFA_EIO},    {"BUSY", MFFA_EIO},
        {"CLUSTERDOWN", MFFA_EIO},     {"TRYAGAIN", MFFA_EIO},       {"MISCONF", MFFA_EIO},       {"NOREPLICAS", MFFA_EIO},
        {"UNBLOCKED", MFFA_EIO},       {"ASK", MFFA_EIO},
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
    const mffa_redis_address *a = &r->address;
    mffa_code rc = MFFA_OK;
    if (a->password && a->user) rc = greet(r, "AUTH", a->user, a->password, err);
    else if (a->password) rc = greet(r, "AUTH", a->password, NULL, err);
    return rc && rc != MFFA_EIO ? where(r, MFFA_EDENIED, "cannot log in to", "user name or password is wrong", err) : rc;
}

static mffa_code set_up_socket(mffa_redis *r, mffa_err *err) {
    mffa_err why = {0};
    if (r->ctx->err) return where(r, MFFA_EIO, "could not connect to", r->ctx->errstr, err);
    mffa_code rc = r->tls ? mffa_redis_tls_start(r->tls, r->ctx, r->at.host, &why) : MFFA_OK;
    if (rc) return where(r, rc, "could not connect to", why.msg, err);
    r->answer_ms = ANSWER_MS;
    if (redisSetTimeout(r->ctx, timeval_of(ANSWER_MS))) return where(r, MFFA_EIO, "could not set time-outs for", strerror(errno), err);
    if (!r->address.path && redisEnableKeepAlive(r->ctx)) return where(r, MFFA_EIO, "could not set keep-alive for", r->ctx->errstr, err);
    return MFFA_OK;
}

/* node NULL: the socket. Nobody is logged in yet. */
static mffa_code reach(mffa_redis *r, const mffa_redis_node *node, mffa_err *err) {
    if (node) r->at = *node;
    r->ctx = r->address.path ? redisConnectUnixWithTimeout(r->address.path, timeval_of(CONNECT_MS))
                             : redisConnectWithTimeout(r->at.host, r->at.port, timeval_of(CONNECT_MS));
    if (!r->ctx) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = set_up_socket(r, err);
    if (rc) disconnect(r);
    return rc;
}

static mffa_code reach_redis(mffa_redis *r, const mffa_redis_node *node, mffa_err *err) {
    char db[16];
    snprintf(db, sizeof db, "%d", r->address.db);
    mffa_code rc = reach(r, node, err);
    if (!rc) rc = log_in(r, err);
    if (!rc && r->address.db) rc = greet(r, "SELECT", db, NULL, err);
    if (rc && r->ctx) disconnect(r);
    return rc;
}

/* ---- Sentinel ---- */

static mffa_code ask_sentinel(mffa_redis *r, mffa_reply **out, mffa_err *err) {
    const char *argv[3] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", r->address.master};
    size_t len[3] = {strlen(argv[0]), strlen(argv[1]), strlen(argv[2])};
    mffa_code rc = exchange(r, 3, argv, len, out, err);
    if (rc != MFFA_EDENIED || !r->address.password) return rc;
    rc = log_in(r, err); /* only those that want to know a password are told one */
    return rc ? rc : exchange(r, 3, argv, len, out, err);
}

static mffa_code master_of(mffa_redis *r, const mffa_redis_node *sentinel, mffa_redis_node *out, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    char why[160];
    mffa_code rc = reach(r, sentinel, err);
    if (!rc) rc = ask_sentinel(r, &reply, err);
    if (r->ctx) disconnect(r);
    if (rc) return rc;
    snprintf(why, sizeof why, "it knows no master \"%.64s\"", r->address.master);
    if (mffa_reply_size(reply) != 2) return where(r, MFFA_ENOTFOUND, "cannot use the Sentinel of", why, err);
    snprintf(out->host, sizeof out->host, "%s", mffa_reply_text(mffa_reply_at(reply, 0), ""));
    out->port = (int)mffa_reply_int(mffa_reply_at(reply, 1), 0);
    return MFFA_OK;
}

/* A Sentinel may not have seen yet that its master has become another's replica. */
static mffa_code check_master(mffa_redis *r, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    const char *argv[1] = {"ROLE"};
    mffa_code rc = exchange(r, 1, argv, &(size_t){4}, &reply, err);
    if (rc == MFFA_EDENIED) return MFFA_OK; /* a replica refuses what is written to it */
    if (!rc && strcmp(mffa_reply_text(mffa_reply_at(reply, 0), ""), "master") != 0)
        rc = where(r, MFFA_EIO, "lost", "it is no master now", err);
    if (rc && r->ctx) disconnect(r);
    return rc;
}

static mffa_code reach_master(mffa_redis *r, const mffa_redis_node *sentinel, mffa_err *err) {
    mffa_redis_node master = {0};
    mffa_code rc = master_of(r, sentinel, &master, err);
    if (!rc) rc = reach_redis(r, &master, err);
    return rc ? rc : check_master(r, err);
}

/* ---- one of several ---- */

static mffa_code connect_now(mffa_redis *r, mffa_err *err) {
    const mffa_redis_address *a = &r->address;
    mffa_redis_node moved = r->moved;
    r->moved.port = 0; /* once: whoever is not there any more is asked after among the hosts that we know */
    if (moved.port) return reach_redis(r, &moved, err);
    if (a->path) return reach_redis(r, NULL, err);
    mffa_code rc = MFFA_EIO;
    for (size_t i = 0; rc && rc != MFFA_ENOMEM && i < a->count; i++) {
        size_t at = (r->first + i) % a->count;
        rc = a->master ? reach_master(r, &a->node[at], err) : reach_redis(r, &a->node[at], err);
        if (!rc) r->first = at;
    }
    return rc;
}

/* "MOVED 1234 host:port": nothing was done, there it will be. */
static bool read_redirection(mffa_redis *r, const char *answer) {
    const char *at = strrchr(answer, ' '), *colon = strrchr(answer, ':');
    if (strncmp(answer, "MOVED ", 6) != 0 || !at || !colon || colon < at) return false;
    r->moved = (mffa_redis_node){.port = atoi(colon + 1)};
    if (colon == at + 1) memcpy(r->moved.host, r->at.host, sizeof r->moved.host); /* "the host that you speak to" */
    else snprintf(r->moved.host, sizeof r->moved.host, "%.*s", (int)(colon - at - 1), at + 1);
    return r->moved.port > 0;
}

static mffa_code exchange_connected(mffa_redis *r, int n, const char **argv, const size_t *len, int64_t wait_ms, mffa_reply **out,
                                    mffa_err *err) {
    mffa_code rc = r->ctx ? MFFA_OK : connect_now(r, err);
    if (rc) return rc;
    if (wait_ms != r->answer_ms) {
        if (redisSetTimeout(r->ctx, timeval_of(wait_ms))) return where(r, MFFA_EIO, "could not set time-outs for", strerror(errno), err);
        r->answer_ms = wait_ms;
    }
    return exchange(r, n, argv, len, out, err);
}

mffa_code mffa_redis_command(mffa_redis *r, const mffa_span *words, size_t n, int64_t wait_ms, mffa_reply **out, mffa_err *err) {
    if (n == 0 || n > INT_MAX) return mffa_fail(err, MFFA_EINVAL, "a Redis command of %zu words", n);
    MFFA_AUTO(mffa_free_p) const char **argv = mffa_alloc_array(n, sizeof *argv);
    MFFA_AUTO(mffa_free_p) size_t *len = mffa_alloc_array(n, sizeof *len);
    if (!argv || !len) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) argv[i] = words[i].ptr, len[i] = words[i].len;
    mffa_err e = {0};
    mffa_code rc = exchange_connected(r, (int)n, argv, len, wait_ms > 0 ? wait_ms : ANSWER_MS, out, &e);
    for (int hop = 0; rc && hop < HOPS_MAX && read_redirection(r, e.msg); hop++) {
        if (r->ctx) disconnect(r);
        rc = exchange_connected(r, (int)n, argv, len, wait_ms > 0 ? wait_ms : ANSWER_MS, out, &e);
    }
    if (rc && strncmp(e.msg, "ASK ", 4) == 0)
        return mffa_fail(err, rc, "the queue is being moved to another node of the Cluster (%s): calls go on when all its keys are there",
                         e.msg);
    return rc ? mffa_fail(err, rc, "%s", e.msg) : MFFA_OK;
}

/* ---- replies: mffa_reply is hiredis' redisReply, seen by nobody else ---- */

static const redisReply *seen(const mffa_reply *r) { return (const redisReply *)r; }

void mffa_reply_close(mffa_reply *r) {
    if (r) freeReplyObject(r);
}

size_t mffa_reply_size(const mffa_reply *r) { return r && seen(r)->type == REDIS_REPLY_ARRAY ? seen(r)->elements : 0; }

const mffa_reply *mffa_reply_at(const mffa_reply *r, size_t i) {
    return i < mffa_reply_size(r) ? (const mffa_reply *)seen(r)->element[i] : NULL;
}

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

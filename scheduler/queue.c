#include "scheduler/queue.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "core/base/clock.h"
#include "scheduler/functions.h"
#include "scheduler/redis.h"

enum { NAME_BYTES = 64, REQUEST_HEX = 32, LOADS_MAX = 8, CLOCKS_DIFFER_S = 5 };

struct mffa_queue {
    mffa_redis *redis;
    char key[NAME_BYTES + 16];  /* mffa:{name} */
    char wake[NAME_BYTES + 24]; /* mffa:{name}:wake: */
};

static bool good_name(const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])) return false;
    return len > 0 && len <= NAME_BYTES;
}

mffa_queue_options mffa_queue_options_of(const mffa_config *c) {
    return (mffa_queue_options){.url = c->redis_url,
                                .password_file = c->redis_password_file,
                                .name = c->queue,
                                .ca_file = c->redis_ca_file,
                                .cert_file = c->redis_cert_file,
                                .key_file = c->redis_key_file};
}

mffa_code mffa_queue_open(const mffa_queue_options *o, mffa_queue **out, mffa_err *err) {
    if (!good_name(o->name))
        return mffa_fail(err, MFFA_EINVAL, "queue name \"%s\": expected 1 to %d letters, digits or . _ -", o->name, NAME_BYTES);
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = calloc(1, sizeof *q);
    if (!q) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    snprintf(q->key, sizeof q->key, "mffa:{%s}", o->name);
    snprintf(q->wake, sizeof q->wake, "%s:wake:", q->key);
    mffa_code rc = mffa_redis_open(o, &q->redis, err);
    if (!rc) *out = MFFA_TAKE(q);
    return rc;
}

void mffa_queue_close(mffa_queue *q) {
    if (!q) return;
    mffa_redis_close(q->redis);
    free(q);
}

mffa_code mffa_queue_command(mffa_queue *q, const mffa_span *words, size_t n, mffa_reply **out, mffa_err *err) {
    return mffa_redis_command(q->redis, words, n, 0, out, err);
}

/* A command of plain words. */
static mffa_code ask(mffa_queue *q, const char *const *text, size_t n, mffa_reply **out, mffa_err *err) {
    mffa_span words[8];
    for (size_t i = 0; i < n; i++) words[i] = mffa_span_of(text[i]);
    return mffa_queue_command(q, words, n, out, err);
}
#define ASK(q, out, err, ...)                                                                                                              \
    ask(q, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), out, err)

/* ---- the function library ---- */

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }
static bool is_missing(const mffa_err *e) { return begins(e->msg, "ERR Function not found"); }

static mffa_code replace_library(mffa_queue *q, bool replace, mffa_err *err) {
    mffa_span words[4] = {mffa_span_of("FUNCTION"), mffa_span_of("LOAD")};
    size_t n = 2;
    if (replace) words[n++] = mffa_span_of("REPLACE");
    words[n++] = (mffa_span){mffa_functions_source, mffa_functions_len};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err e = {0};
    mffa_code rc = mffa_queue_command(q, words, n, &reply, &e);
    if (rc && begins(e.msg, "ERR Library 'mffa' already exists")) return MFFA_OK; /* another program was faster */
    if (rc == MFFA_EDENIED)
        return mffa_fail(err, rc,
                         "Redis lacks the function library and this user may not load it: start mffa-scheduler, or allow FUNCTION LOAD");
    return rc ? mffa_fail(err, rc, "%s", e.msg) : MFFA_OK;
}

mffa_code mffa_queue_load_library(mffa_queue *q, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err e = {0};
    mffa_code rc = ASK(q, &reply, &e, "FCALL_RO", "mffa_version", "1", q->key); /* the key leads to the right node of a Cluster */
    if (rc && is_missing(&e)) return replace_library(q, false, err);
    if (rc) return mffa_fail(err, rc, "%s", e.msg);
    return mffa_reply_int(reply, 0) < mffa_functions_version ? replace_library(q, true, err) : MFFA_OK;
}

mffa_code mffa_queue_call(mffa_queue *q, bool read_only, const char *verb, const mffa_span *args, size_t n, mffa_reply **out,
                          mffa_err *err) {
    MFFA_AUTO(mffa_free_p) mffa_span *words = mffa_alloc_array(n + 4, sizeof *words);
    char name[64];
    if (!words) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    snprintf(name, sizeof name, "mffa_%s", verb);
    words[0] = mffa_span_of(read_only ? "FCALL_RO" : "FCALL");
    words[1] = mffa_span_of(name), words[2] = mffa_span_of("1"), words[3] = mffa_span_of(q->key);
    for (size_t i = 0; i < n; i++) words[4 + i] = args[i];
    mffa_err e = {0};
    mffa_code rc = mffa_queue_command(q, words, n + 4, out, &e);
    /* Redis restarted empty, FUNCTION FLUSH (perhaps again in between), or a library older than this program: nothing was done, so once
     * more with ours */
    for (int i = 0; i < LOADS_MAX && rc && (is_missing(&e) || begins(e.msg, "OLDLIB Redis holds")); i++) {
        if ((rc = mffa_queue_load_library(q, err))) return rc;
        rc = mffa_queue_command(q, words, n + 4, out, &e);
    }
    return rc ? mffa_fail(err, rc, "%s", e.msg) : MFFA_OK;
}

/* ---- is this server fit for jobs? ---- */

/* The value of a line "name:value" of an INFO answer. */
static mffa_span info_value(const char *info, const char *name) {
    size_t len = strlen(name);
    for (const char *line = info; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, name, len) == 0 && line[len] == ':') return (mffa_span){line + len + 1, strcspn(line + len + 1, "\r\n")};
    return (mffa_span){"", 0};
}

static mffa_code info(mffa_queue *q, const char *section, mffa_buf *out, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_code rc = ASK(q, &reply, err, "INFO", section);
    if (rc) return rc;
    mffa_buf_puts(out, mffa_reply_text(reply, ""));
    return mffa_buf_check(out, err);
}

static mffa_code check_version(mffa_queue *q, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_code rc = info(q, "server", &text, err);
    if (rc) return rc;
    mffa_span version = info_value(mffa_buf_text(&text), "redis_version");
    if (atoi(version.ptr) >= 7) return MFFA_OK;
    return mffa_fail(err, MFFA_EUNSUPPORTED, "Redis is version \"%.*s\": the queue needs 7.0 or newer, for its functions", (int)version.len,
                     (const char *)version.ptr);
}

static mffa_code check_functions(mffa_queue *q, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err e = {0};
    mffa_code rc = ASK(q, &reply, &e, "FUNCTION", "LIST", "LIBRARYNAME", "mffa");
    if (!rc || rc == MFFA_EDENIED) return MFFA_OK; /* a user without FUNCTION may still call; mffa_queue_load_library tells */
    if (rc == MFFA_EIO) return mffa_fail(err, rc, "%s", e.msg);
    return mffa_fail(err, MFFA_EUNSUPPORTED,
                     "Redis answers FUNCTION with \"%s\": the queue needs Redis Functions, do not rename or disable the command", e.msg);
}

static mffa_code check_eviction(mffa_queue *q, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_code rc = info(q, "memory", &text, err);
    if (rc) return rc;
    mffa_span most = info_value(mffa_buf_text(&text), "maxmemory"), policy = info_value(mffa_buf_text(&text), "maxmemory_policy");
    if (atoll(most.ptr) == 0 || mffa_span_is(policy, "noeviction")) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL,
                     "Redis may evict keys (maxmemory-policy \"%.*s\") and jobs would vanish: CONFIG SET maxmemory-policy noeviction",
                     (int)policy.len, (const char *)policy.ptr);
}

static mffa_code look_at_persistence(mffa_queue *q, mffa_buf *warning, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_code rc = info(q, "persistence", &text, err);
    if (rc || mffa_span_is(info_value(mffa_buf_text(&text), "aof_enabled"), "1")) return rc;
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *save = NULL;
    mffa_err e = {0};
    bool known = ASK(q, &save, &e, "CONFIG", "GET", "save") == MFFA_OK;
    bool never = known && *mffa_reply_text(mffa_reply_field(save, "save"), "") == '\0';
    mffa_buf_puts(warning,
                  never ? "Redis keeps nothing on disk: a restart loses every job; CONFIG SET appendonly yes"
                        : "Redis writes no append-only file: a crash loses the jobs since its last snapshot; CONFIG SET appendonly yes");
    return MFFA_OK;
}

/* The queue goes by Redis' clock alone, so this one may be off; what else people compare may not. */
static mffa_code look_at_clock(mffa_queue *q, mffa_buf *warning, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_code rc = ASK(q, &reply, err, "TIME");
    if (rc) return rc;
    int64_t off_s = mffa_wall_ms() / 1000 - mffa_reply_int(mffa_reply_at(reply, 0), 0);
    if (off_s >= -CLOCKS_DIFFER_S && off_s <= CLOCKS_DIFFER_S) return MFFA_OK;
    mffa_buf_putf(warning,
                  "%sthis machine's clock is %lld s %s Redis': jobs do not mind, dates in logs and results and S3's signatures do; set it",
                  warning->len ? "; " : "", (long long)(off_s < 0 ? -off_s : off_s), off_s < 0 ? "behind" : "ahead of");
    return MFFA_OK;
}

mffa_code mffa_queue_check_server(mffa_queue *q, char **warning, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    *warning = NULL;
    mffa_code rc = check_version(q, err);
    if (!rc) rc = check_functions(q, err);
    if (!rc) rc = check_eviction(q, err);
    if (!rc) rc = look_at_persistence(q, &text, err);
    if (!rc) rc = look_at_clock(q, &text, err);
    if (!rc) rc = mffa_buf_check(&text, err);
    if (!rc && text.len && !(*warning = strdup(mffa_buf_text(&text)))) rc = mffa_fail(err, MFFA_ENOMEM, "out of memory");
    return rc;
}

/* ---- the worker's calls ---- */

void mffa_lease_done(mffa_lease *l) {
    mffa_reply_close(l->fields);
    *l = (mffa_lease){0};
}

const char *mffa_lease_field(const mffa_lease *l, const char *name, const char *otherwise) {
    return mffa_reply_text(mffa_reply_field(l->fields, name), otherwise);
}

static void put_option(mffa_span *args, size_t *n, const char *name, const char *value) {
    if (!value || !*value) return;
    args[(*n)++] = mffa_span_of(name);
    args[(*n)++] = mffa_span_of(value);
}

static mffa_code fill_lease(mffa_reply *reply, mffa_lease *out, mffa_err *err) {
    const char *id = mffa_reply_text(mffa_reply_field(reply, "id"), ""), *nonce = mffa_reply_text(mffa_reply_field(reply, "nonce"), "");
    if (!*id || strlen(id) >= sizeof out->job || strlen(nonce) >= sizeof out->nonce)
        return mffa_fail(err, MFFA_EBUG, "mffa_claim answered a job without a fitting id and nonce");
    *out = (mffa_lease){.run = mffa_reply_int(mffa_reply_field(reply, "run"), 0),
                        .lease_ms = mffa_reply_int(mffa_reply_field(reply, "lease_ms"), 0)};
    memcpy(out->job, id, strlen(id) + 1);
    memcpy(out->nonce, nonce, strlen(nonce) + 1);
    out->fields = reply;
    return MFFA_OK;
}

mffa_code mffa_queue_claim(mffa_queue *q, const mffa_worker_info *w, const char *request, mffa_lease *out, bool *got, mffa_err *err) {
    char lib[16];
    mffa_span args[16] = {mffa_span_of(w->id), mffa_span_of(request)};
    size_t n = 2;
    if (strlen(request) != REQUEST_HEX)
        return mffa_fail(err, MFFA_EINVAL, "claim request \"%s\": expected %d hex digits", request, REQUEST_HEX);
    snprintf(lib, sizeof lib, "%d", mffa_functions_version);
    put_option(args, &n, "pool", w->pool), put_option(args, &n, "kinds", w->kinds);
    put_option(args, &n, "host", w->host), put_option(args, &n, "device", w->device);
    put_option(args, &n, "version", w->version), put_option(args, &n, "lib", lib);
    put_option(args, &n, "fresh", w->fresh ? "yes" : NULL);
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_code rc = mffa_queue_call(q, false, "claim", args, n, &reply, err);
    if (rc) return rc;
    *got = false;
    if (mffa_reply_is_nil(reply)) return MFFA_OK;
    if (mffa_reply_field(reply, "drain"))
        return mffa_fail(err, MFFA_ECANCELLED, "worker \"%s\" was drained: it gets no job any more", w->id);
    rc = fill_lease(reply, out, err);
    if (rc) return rc;
    reply = NULL; /* the lease has it */
    *got = true;
    return MFFA_OK;
}

mffa_code mffa_queue_wait(mffa_queue *q, const char *pool, int64_t wait_ms, mffa_err *err) {
    char key[sizeof q->wake + NAME_BYTES + 1], seconds[32];
    if (strlen(pool) > NAME_BYTES) return mffa_fail(err, MFFA_EINVAL, "pool \"%s\": expected at most %d characters", pool, NAME_BYTES);
    if (wait_ms < 1) wait_ms = 1; /* BLPOP takes 0 for ever */
    snprintf(key, sizeof key, "%s%s", q->wake, pool);
    snprintf(seconds, sizeof seconds, "%lld.%03d", (long long)(wait_ms / 1000), (int)(wait_ms % 1000));
    mffa_span words[3] = {mffa_span_of("BLPOP"), mffa_span_of(key), mffa_span_of(seconds)};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    return mffa_redis_command(q->redis, words, 3, wait_ms + 10000, &reply, err);
}

typedef struct fence { /* the three words that every call of a run starts with */
    char run[24];
    mffa_span args[3];
} fence;

static void put_fence(fence *f, const mffa_lease *l) {
    snprintf(f->run, sizeof f->run, "%lld", (long long)l->run);
    f->args[0] = mffa_span_of(l->job), f->args[1] = mffa_span_of(f->run), f->args[2] = mffa_span_of(l->nonce);
}

static mffa_code call_run(mffa_queue *q, const char *verb, const mffa_lease *l, const mffa_span *more, size_t n, mffa_reply **out,
                          mffa_err *err) {
    MFFA_AUTO(mffa_free_p) mffa_span *args = mffa_alloc_array(n + 3, sizeof *args);
    if (!args) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    fence f;
    put_fence(&f, l);
    memcpy(args, f.args, sizeof f.args);
    for (size_t i = 0; i < n; i++) args[3 + i] = more[i];
    return mffa_queue_call(q, false, verb, args, n + 3, out, err);
}

mffa_code mffa_queue_beat(mffa_queue *q, const mffa_lease *l, const mffa_beat *b, mffa_verdict *out, mffa_err *err) {
    char done[24], total[24], rate[40] = "", eta[24] = "";
    mffa_span args[12];
    size_t n = 0;
    if (b->inputs) put_option(args, &n, "inputs", b->inputs);
    if (*b->phase) {
        snprintf(done, sizeof done, "%lld", (long long)b->done);
        snprintf(total, sizeof total, "%lld", (long long)b->total);
        if (isfinite(b->rate) && b->rate >= 0) snprintf(rate, sizeof rate, "%.6g", b->rate);
        if (b->eta_s >= 0) snprintf(eta, sizeof eta, "%lld", (long long)b->eta_s);
        put_option(args, &n, "phase", b->phase), put_option(args, &n, "done", done), put_option(args, &n, "total", total);
        put_option(args, &n, "rate", rate), put_option(args, &n, "eta_s", eta);
    }
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_code rc = call_run(q, "beat", l, args, n, &reply, err);
    if (rc) return rc;
    mffa_span word = mffa_reply_bytes(reply);
    *out = mffa_span_is(word, "cancel") ? MFFA_STOP_CANCELLED : mffa_span_is(word, "drain") ? MFFA_STOP_DRAIN : MFFA_GO_ON;
    return MFFA_OK;
}

mffa_code mffa_queue_finish(mffa_queue *q, const mffa_lease *l, const char *result, const mffa_span *facts, size_t n, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) mffa_span *args = mffa_alloc_array(n + 1, sizeof *args);
    if (!args) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    args[0] = mffa_span_of(result);
    for (size_t i = 0; i < n; i++) args[1 + i] = facts[i];
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    return call_run(q, "finish", l, args, n + 1, &reply, err);
}

mffa_code mffa_queue_fail(mffa_queue *q, const mffa_lease *l, const char *reason, bool retryable, mffa_err *err) {
    mffa_span args[2] = {mffa_span_of(retryable ? "yes" : "no"), mffa_span_of(reason)};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    return call_run(q, "fail", l, args, 2, &reply, err);
}

mffa_code mffa_queue_release(mffa_queue *q, const mffa_lease *l, const char *why, mffa_err *err) {
    mffa_span args[1] = {mffa_span_of(why)};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    return call_run(q, "release", l, args, 1, &reply, err);
}

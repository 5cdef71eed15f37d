#include "worker/held_job.h"

#include <poll.h>
#include <string.h>
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/stats.h"
#include "scheduler/health.h"
#include "worker/meter.h"
#include "worker/results.h"
#include "worker/stop.h"
#include "worker/trace.h"
#include "worker/wire.h"

typedef enum wish { NO_WISH, CANCEL, STOP } wish; /* what the executor was told */

typedef struct held_job {
    mffa_holding *h;
    mffa_child *child;
    const mffa_config *config;
    mffa_prefetch *prefetch;
    mffa_meter meter;
    bool drain, over;                        /* over: the last word is said */
    wish told;
    int64_t kill_ms;                         /* when patience with what it was told ends */
} held_job;

/* A cancelled job frees the device within 6 s of the wish: a beat hears of it, the rest is for an orderly end. */
static int64_t cancel_grace_ms(const mffa_config *c) {
    int64_t left = 5900 - c->beat_ms;
    return left < 900 ? 900 : left > 5000 ? 5000 : left;
}

static const char *word_of(wish w) { return w == CANCEL ? "cancelled" : "preempted"; }

static void end_with(held_job *r, void (*say)(held_job *r, const void *what), const void *what) {
    say(r, what);
    r->over = true;
}

static void say_release(held_job *r, const void *word) { mffa_holding_release(r->h, word, r->config->stop_ms); }
static void say_fail_again(held_job *r, const void *reason) { mffa_holding_fail(r->h, reason, true, r->config->stop_ms); }

/* The executor is gone, by itself or by us. */
static void executor_ended(held_job *r, const char *reason) {
    if (r->told != NO_WISH) end_with(r, say_release, word_of(r->told));
    else end_with(r, say_fail_again, reason);
}

static void ask(held_job *r, wish w, int64_t grace_ms) {
    if (r->told == CANCEL || r->told == w) return;
    MFFA_AUTO(mffa_json_close_p) mffa_json *m = mffa_json_object();
    mffa_json_set(m, "do", mffa_json_of_text(w == CANCEL ? "cancel" : "stop"));
    mffa_log(MFFA_INFO, "job.stopping", mffa_str("job", r->h->lease.job), mffa_str("why", word_of(w)));
    r->told = w;
    r->kill_ms = mffa_now_ms() + grace_ms;
    if (mffa_wire_send(r->child->fd, m, NULL)) r->kill_ms = mffa_now_ms();
}

static int nibble(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool hex_bytes(const char *hex, mffa_buf *out) {
    for (; *hex; hex += 2) {
        int high = nibble(hex[0]), low = high < 0 ? -1 : nibble(hex[1]);
        if (low < 0) return false;
        mffa_buf_put(out, &(char){(char)(high << 4 | low)}, 1);
    }
    return !out->failed;
}

static void say_finish(held_job *r, const void *what) {
    const mffa_json *m = what;
    MFFA_AUTO(mffa_buf_done) mffa_buf summary = {0};
    if (!hex_bytes(mffa_json_text(mffa_json_get(m, "summary"), ""), &summary)) mffa_buf_clear(&summary);
    mffa_holding_finish(r->h, mffa_json_text(mffa_json_get(m, "result"), ""), mffa_json_get(m, "facts"), &summary, r->config->stop_ms);
}

static void say_failed(held_job *r, const void *what) {
    const mffa_json *m = what;
    bool stopped = strcmp(mffa_json_text(mffa_json_get(m, "code"), ""), mffa_code_name(MFFA_ECANCELLED)) == 0;
    if (stopped && r->told != NO_WISH) mffa_holding_release(r->h, word_of(r->told), r->config->stop_ms);
    else
        mffa_holding_fail(r->h, mffa_json_text(mffa_json_get(m, "text"), "no reason was given"),
                          mffa_json_bool(mffa_json_get(m, "again"), false), r->config->stop_ms);
}

static void hear(held_job *r) {
    MFFA_AUTO(mffa_json_close_p) mffa_json *m = NULL;
    char how[128], reason[256];
    if (mffa_wire_receive(r->child->fd, &m, NULL)) {
        mffa_child_end(r->child, how);
        snprintf(reason, sizeof reason, "the executor %s in phase \"%s\"", how, r->meter.phase);
        mffa_log(MFFA_WARN, "executor.ended", mffa_str("job", r->h->lease.job), mffa_str("how", how));
        return executor_ended(r, reason);
    }
    const char *is = mffa_json_text(mffa_json_get(m, "is"), "");
    if (strcmp(is, "progress") == 0)
        mffa_meter_note(&r->meter, mffa_json_text(mffa_json_get(m, "phase"), ""), mffa_json_int(mffa_json_get(m, "done"), 0),
                        mffa_json_int(mffa_json_get(m, "total"), 0), mffa_now_ms());
    else if (strcmp(is, "counts") == 0) mffa_stats_merge(mffa_json_get(m, "counts"));
    else if (strcmp(is, "inputs") == 0) {
        snprintf(r->meter.inputs, sizeof r->meter.inputs, "%s", mffa_json_text(mffa_json_get(m, "sha256"), ""));
        r->h->next_beat_ms = mffa_now_ms(); /* into the record before anything can happen to this run */
    } else if (strcmp(is, "done") == 0) end_with(r, say_finish, m);
    else if (strcmp(is, "failed") == 0) end_with(r, say_failed, m);
}

static void beat(held_job *r, int64_t now) {
    mffa_err err = {0};
    mffa_verdict verdict = MFFA_GO_ON;
    mffa_beat b = mffa_meter_beat(&r->meter, now);
    mffa_code rc = mffa_holding_beat(r->h, &b, now, &verdict, &err);
    if (rc) { /* it is another's, or nobody knows: publish nothing */
        mffa_log(MFFA_WARN, "job.fenced", mffa_str("job", r->h->lease.job), mffa_int("run", r->h->lease.run), mffa_str("error", err.msg));
        mffa_holding_count(r->h, rc == MFFA_EFENCED ? "fenced" : "alone");
        mffa_child_end(r->child, NULL);
        r->over = true;
        return;
    }
    if (verdict == MFFA_GO_ON && !r->drain) mffa_prefetch_look(r->prefetch, r->h->queue);
    if (verdict == MFFA_STOP_DRAIN) r->drain = true;
    if (verdict == MFFA_STOP_CANCELLED) ask(r, CANCEL, cancel_grace_ms(r->config));
}

static void watch(held_job *r, int64_t now) {
    char reason[256];
    if (r->told != NO_WISH && now >= r->kill_ms) {
        mffa_child_end(r->child, NULL);
        mffa_log(MFFA_WARN, "executor.killed", mffa_str("job", r->h->lease.job), mffa_str("why", word_of(r->told)));
        return executor_ended(r, "");
    }
    if (r->told != NO_WISH || now - r->meter.moved_ms < r->config->stall_ms) return;
    mffa_child_end(r->child, NULL);
    snprintf(reason, sizeof reason, "no progress for %lld ms (MFFA_STALL_MS) in phase \"%s\" at %lld of %lld: the executor was killed",
             (long long)r->config->stall_ms, r->meter.phase, (long long)r->meter.done, (long long)r->meter.total);
    mffa_log(MFFA_WARN, "executor.killed", mffa_str("job", r->h->lease.job), mffa_str("why", "no progress"));
    executor_ended(r, reason);
}

static mffa_json *run_message(const mffa_lease *l) {
    mffa_json *m = mffa_json_object(), *fields = mffa_json_object();
    for (size_t i = 0; i + 1 < mffa_reply_size(l->fields); i += 2)
        mffa_json_set(fields, mffa_reply_text(mffa_reply_at(l->fields, i), ""),
                      mffa_json_of_text(mffa_reply_text(mffa_reply_at(l->fields, i + 1), "")));
    mffa_json_set(m, "do", mffa_json_of_text("run"));
    mffa_json_set(m, "job", mffa_json_of_text(l->job));
    mffa_json_set(m, "kind", mffa_json_of_text(mffa_lease_field(l, "kind", "")));
    mffa_json_set(m, "run", mffa_json_of_int(l->run));
    mffa_json_set(m, "nonce", mffa_json_of_text(l->nonce));
    mffa_json_set(m, "fields", fields);
    return m;
}

static void wait_for_news(held_job *r, int64_t now) {
    int64_t until = r->h->next_beat_ms;
    if (r->told == NO_WISH && r->meter.moved_ms + r->config->stall_ms < until) until = r->meter.moved_ms + r->config->stall_ms;
    if (r->told != NO_WISH && r->kill_ms < until) until = r->kill_ms;
    struct pollfd p[2] = {{.fd = r->child->fd, .events = POLLIN}, {.fd = mffa_stop_fd(), .events = POLLIN}};
    nfds_t n = mffa_stop_asked() ? 1 : 2;
    if (poll(p, n, until > now ? (int)(until - now) : 0) > 0 && p[0].revents) hear(r);
    if (!r->over && mffa_stop_asked()) ask(r, STOP, r->config->stop_ms);
}

/* Another run has the job and has swept before this one wrote its last: nobody else would remove it. */
static void forget(const mffa_lease *l) {
    mffa_err err = {0};
    if (mffa_results_forget(mffa_lease_field(l, "output", ""), mffa_lease_field(l, "kind", ""), l->job, l->run, l->nonce, &err))
        mffa_log(MFFA_WARN, "run.not_removed", mffa_str("job", l->job), mffa_str("error", err.msg));
}

void mffa_held_job_run(mffa_holding *h, mffa_child *child, const mffa_config *config, mffa_prefetch *prefetch, bool *drain) {
    held_job r = {.h = h, .child = child, .config = config, .prefetch = prefetch};
    mffa_trace_begin(mffa_lease_field(&h->lease, "trace", ""));
    MFFA_AUTO(mffa_json_close_p) mffa_json *m = run_message(&h->lease);
    r.meter.moved_ms = mffa_now_ms();
    mffa_log(MFFA_INFO, "job.started", mffa_str("job", h->lease.job), mffa_int("run", h->lease.run),
             mffa_str("kind", mffa_lease_field(&h->lease, "kind", "")));
    if (mffa_wire_send(child->fd, m, NULL)) hear(&r);
    while (!r.over) {
        int64_t now = mffa_now_ms();
        if (now >= h->next_beat_ms) beat(&r, now);
        if (!r.over) watch(&r, mffa_now_ms());
        if (!r.over) wait_for_news(&r, mffa_now_ms());
        mffa_health_pulse();
    }
    if (h->outlived) forget(&h->lease);
    mffa_trace_end();
    if (r.drain) *drain = true;
}

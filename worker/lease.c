#include "worker/lease.h"

#include <string.h>
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rng.h"
#include "core/base/stats.h"
#include "scheduler/health.h"
#include "worker/stop.h"

enum { FACTS_MAX = 64, RETRY_FIRST_MS = 100, RETRY_MOST_MS = 5000, ALONE_MOST_MS = 600000, READY_MS = 30000 };

/* What the last call to Redis tells of health; answered: also by a refusal. */
static void note_call(bool answered, int64_t beat_ms, const mffa_err *err) {
    mffa_stat_set(MFFA_STAT_REDIS_UP, NULL, NULL, answered);
    mffa_stat_add(MFFA_STAT_REDIS_ERRORS, NULL, NULL, !answered);
    if (!answered) return mffa_health_not_ready(err->msg);
    mffa_stat_set(MFFA_STAT_BEAT_LAST, NULL, NULL, (double)mffa_wall_ms() / 1e3);
    mffa_health_ready(READY_MS + 3 * beat_ms);
}

/* Full jitter, so that a fleet does not come back all at once: 1..limit, the limit doubling. */
static int64_t next_pause(int *attempt) {
    int64_t limit = RETRY_FIRST_MS;
    for (int i = 0; i < *attempt && limit < RETRY_MOST_MS; i++) limit *= 2;
    ++*attempt;
    uint32_t chance = 0;
    if (mffa_random_bytes(&chance, sizeof chance, NULL)) return limit;
    return 1 + chance % limit;
}

mffa_code mffa_holding_claim(mffa_queue *q, const mffa_worker_info *who, int64_t beat_ms, mffa_holding *out, bool *got, mffa_err *err) {
    char request[33];
    mffa_holding h = {.queue = q, .beat_ms = beat_ms};
    *got = false;
    mffa_code rc = mffa_random_hex(request, 16, err);
    if (!rc) rc = mffa_queue_claim(q, who, request, &h.lease, got, err);
    for (int attempt = 0; rc && rc != MFFA_ECANCELLED && !mffa_stop_asked();) {
        note_call(false, beat_ms, err);
        mffa_log(MFFA_WARN, "claim.retry", mffa_str("error", err->msg));
        mffa_stop_sleep(next_pause(&attempt));
        rc = mffa_queue_claim(q, who, request, &h.lease, got, err);
    }
    if (rc && rc != MFFA_ECANCELLED) return MFFA_OK; /* asked to stop */
    note_call(true, beat_ms, err);
    if (rc || !*got) return rc;
    h.heard_ms = h.next_beat_ms = h.began_ms = mffa_now_ms();
    const char *waited_ms = mffa_lease_field(&h.lease, "waited_ms", NULL);
    if (waited_ms) mffa_stat_observe(MFFA_STAT_WAIT_SECONDS, mffa_lease_field(&h.lease, "kind", ""), atof(waited_ms) / 1e3);
    *out = h;
    return MFFA_OK;
}

void mffa_holding_count(const mffa_holding *h, const char *outcome) {
    const char *kind = mffa_lease_field(&h->lease, "kind", "");
    mffa_stat_add(MFFA_STAT_RUNS, kind, outcome, 1);
    mffa_stat_add(MFFA_STAT_FENCED, NULL, NULL, strcmp(outcome, "fenced") == 0);
    mffa_stat_observe(MFFA_STAT_RUN_SECONDS, kind, (double)(mffa_now_ms() - h->began_ms) / 1e3);
}

void mffa_holding_done(mffa_holding *h) { mffa_lease_done(&h->lease); }

/* A job that the queue does not know any more is another matter: Redis may have lost data, and somebody may have read the result. */
static void note_fence(mffa_holding *h, mffa_code rc, const mffa_err *err) {
    h->outlived = rc == MFFA_EFENCED && strncmp(err->msg, "FENCED run ", strlen("FENCED run ")) == 0;
}

mffa_code mffa_holding_beat(mffa_holding *h, const mffa_beat *b, int64_t now_ms, mffa_verdict *verdict, mffa_err *err) {
    *verdict = MFFA_GO_ON;
    mffa_code rc = mffa_queue_beat(h->queue, &h->lease, b, verdict, err);
    note_call(rc == MFFA_OK || rc == MFFA_EFENCED, h->beat_ms, err);
    if (rc == MFFA_OK) {
        h->heard_ms = now_ms;
        h->next_beat_ms = now_ms + h->beat_ms;
        return MFFA_OK;
    }
    note_fence(h, rc, err);
    if (rc == MFFA_EFENCED) return rc;
    mffa_stat_add(MFFA_STAT_BEAT_FAILURES, NULL, NULL, 1);
    mffa_log(MFFA_WARN, "beat.retry", mffa_str("job", h->lease.job), mffa_str("error", err->msg));
    if (mffa_now_ms() - h->heard_ms > ALONE_MOST_MS) return mffa_wrap(err, MFFA_EIO, "no answer for %d s", ALONE_MOST_MS / 1000);
    int attempt = 3;
    h->next_beat_ms = mffa_now_ms() + next_pause(&attempt);
    return MFFA_OK;
}

typedef struct last_word {
    enum { FINISH, FAIL, RELEASE } kind;
    const char *text; /* result, reason, why */
    bool retryable;
    const mffa_span *facts;
    size_t count;
} last_word;

static mffa_code say(mffa_holding *h, const last_word *w, mffa_err *err) {
    if (w->kind == FINISH) return mffa_queue_finish(h->queue, &h->lease, w->text, w->facts, w->count, err);
    if (w->kind == FAIL) return mffa_queue_fail(h->queue, &h->lease, w->text, w->retryable, err);
    return mffa_queue_release(h->queue, &h->lease, w->text, err);
}

/* Until Redis answers. Asked to stop, not longer than stop_ms: then the lease runs out and the job runs elsewhere. */
static mffa_code say_until_known(mffa_holding *h, const last_word *w, int64_t stop_ms, mffa_err *err) {
    int64_t give_up = -1;
    mffa_code rc = say(h, w, err);
    for (int attempt = 0; rc == MFFA_EIO || rc == MFFA_ENOMEM;) {
        note_call(false, h->beat_ms, err);
        mffa_log(MFFA_WARN, "job.retry_report", mffa_str("job", h->lease.job), mffa_str("error", err->msg));
        if (mffa_stop_asked() && give_up < 0) give_up = mffa_now_ms() + stop_ms;
        if (give_up >= 0 && mffa_now_ms() > give_up) return rc;
        int64_t pause = next_pause(&attempt);
        if (give_up < 0) mffa_stop_sleep(pause);
        else mffa_sleep_ms(pause);
        rc = say(h, w, err);
    }
    return rc;
}

static mffa_code conclude(mffa_holding *h, const last_word *w, int64_t stop_ms, const char *event, mffa_err *err) {
    mffa_code rc = say_until_known(h, w, stop_ms, err);
    note_fence(h, rc, err);
    mffa_level level = w->kind == FAIL ? MFFA_WARN : MFFA_INFO;
    const char *outcome = w->kind == FINISH ? "done" : w->kind == FAIL ? "failed" : w->text;
    mffa_holding_count(h, rc == MFFA_OK ? outcome : rc == MFFA_EFENCED ? "fenced" : "alone");
    if (rc == MFFA_OK) mffa_log(level, event, mffa_str("job", h->lease.job), mffa_int("run", h->lease.run), mffa_str("text", w->text));
    else if (rc == MFFA_EFENCED)
        mffa_log(MFFA_WARN, "job.fenced", mffa_str("job", h->lease.job), mffa_int("run", h->lease.run), mffa_str("error", err->msg));
    else
        mffa_log(MFFA_ERROR, "job.not_reported", mffa_str("job", h->lease.job), mffa_int("run", h->lease.run), mffa_str("error", err->msg));
    return rc;
}

typedef struct fact_list {
    mffa_span list[2 * FACTS_MAX];
    size_t count;
} fact_list;

static mffa_code add_fact(void *ctx, const char *name, const mffa_json *value, mffa_err *err) {
    fact_list *f = ctx;
    if (f->count + 2 > MFFA_COUNT(f->list)) return mffa_fail(err, MFFA_EBUG, "more than %d facts", FACTS_MAX);
    f->list[f->count++] = mffa_span_of(name);
    f->list[f->count++] = mffa_span_of(mffa_json_text(value, ""));
    return MFFA_OK;
}

void mffa_holding_finish(mffa_holding *h, const char *result, const mffa_json *facts, const mffa_buf *summary, int64_t stop_ms) {
    fact_list f = {.count = 0};
    mffa_err err = {0};
    mffa_code rc = mffa_json_each(facts, add_fact, &f, &err);
    if (!rc && summary->len && f.count + 2 <= MFFA_COUNT(f.list)) {
        f.list[f.count++] = mffa_span_of("summary");
        f.list[f.count++] = mffa_buf_span(summary);
    }
    if (!rc) rc = conclude(h, &(last_word){.kind = FINISH, .text = result, .facts = f.list, .count = f.count}, stop_ms, "job.done", &err);
    if (rc == MFFA_OK || rc == MFFA_EFENCED || mffa_code_retryable(rc)) return;
    (void)mffa_wrap(&err, rc, "the queue refused to publish \"%s\"", result); /* said again it would be refused again */
    mffa_holding_fail(h, err.msg, false, stop_ms);
}

void mffa_holding_fail(mffa_holding *h, const char *reason, bool retryable, int64_t stop_ms) {
    mffa_err err = {0};
    (void)conclude(h, &(last_word){.kind = FAIL, .text = reason, .retryable = retryable}, stop_ms, "job.failed", &err);
}

void mffa_holding_release(mffa_holding *h, const char *why, int64_t stop_ms) {
    mffa_err err = {0};
    (void)conclude(h, &(last_word){.kind = RELEASE, .text = why}, stop_ms, "job.released", &err);
}

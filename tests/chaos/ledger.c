#include "tests/chaos/ledger.h"

#include <dirent.h>
#include "core/base/clock.h"
#include "tests/chaos/history.h"
#include "tests/support/test.h"

enum { JUDGED_AFTER_MS = 60000 };

static mffa_test_redis *redis_of(const ledger *l) { return &l->cast->world->redis; }

/* ---- promises ---- */

static void draw_submission(ledger *l) {
    const char *dir = l->cast->world->dir;
    bool score = mffa_rng_below(&l->cast->rng, 4) == 0;
    snprintf(l->pending_kind, sizeof l->pending_kind, "%s", score ? "score" : "fit");
    int n = score ? snprintf(l->pending, sizeof l->pending, "score model %s dataset file://%s/dataset/test/hole", l->model, dir)
                  : snprintf(l->pending, sizeof l->pending,
                             "fit dataset file://%s/dataset side 160 blocks 2 ratio 0.1 gaussian_channels 32", dir);
    snprintf(l->pending + n, sizeof l->pending - (size_t)n, " output file://%s/out retries 100 prio %d idem chaos-%d", dir,
             (int)mffa_rng_below(&l->cast->rng, 10), ++l->keys);
}

void ledger_submit(ledger *l) {
    if (!*l->pending) draw_submission(l);
    const char *id = mffa_test_fcall(redis_of(l), "submit %s", l->pending);
    if (strlen(id) >= sizeof l->jobs->id || strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(id)) return; /* not answered */
    if ((l->count & (l->count - 1)) == 0) l->jobs = realloc(l->jobs, (l->count ? 2 * l->count : 1) * sizeof *l->jobs);
    assert_non_null(l->jobs);
    ledger_job *j = &l->jobs[l->count++];
    *j = (ledger_job){.key = l->keys};
    snprintf(j->id, sizeof j->id, "%s", id);
    memcpy(j->kind, l->pending_kind, sizeof j->kind);
    *l->pending = '\0';
}

bool ledger_settled(const ledger *l) { return !*l->pending; }

void ledger_open(ledger *l, cast *c) {
    *l = (ledger){.cast = c};
    snprintf(l->model, sizeof l->model, "%s",
             world_submit(c->world, "fit dataset file://%s/dataset output file://%s/models side 64 blocks 0 ratio 0.1 gaussian_channels 8",
                          c->world->dir, c->world->dir));
    world_wait(c->world, l->model, "done");
}

void ledger_close(ledger *l) { free(l->jobs); }

void ledger_cancel(ledger *l) {
    size_t open = l->count - l->first_open;
    if (open == 0) return;
    ledger_job *j = &l->jobs[l->first_open + mffa_rng_below(&l->cast->rng, open)];
    if (j->ended_ms) return;
    j->cancelled = true;
    (void)mffa_test_fcall(redis_of(l), "cancel %s", j->id);
}

static bool is_end(const char *state) {
    static const char *const ends[] = {"done", "failed", "dead", "cancelled", "skipped"};
    for (size_t i = 0; i < MFFA_COUNT(ends); i++)
        if (strcmp(state, ends[i]) == 0) return true;
    return false;
}

int ledger_open_jobs(const ledger *l) {
    int n = 0;
    for (size_t i = l->first_open; i < l->count; i++) n += l->jobs[i].ended_ms == 0;
    return n;
}

/* ---- verdicts ---- */

static void complain(int *count, const ledger_job *j, const char *what, const char *more) {
    ++*count;
    fprintf(stderr, "%s (chaos-%d): %s: %s\n", j->id, j->key, what, more);
}

static void judge_done(ledger *l, const ledger_job *j) {
    mffa_err err = {0};
    char result[512], want[64];
    snprintf(result, sizeof result, "%s", mffa_test_field(redis_of(l), j->id, "result"));
    snprintf(want, sizeof want, "/run-%s-%s", mffa_test_field(redis_of(l), j->id, "run"),
             mffa_test_field(redis_of(l), j->id, "nonce"));
    const char *folder = strrchr(result, '/');
    if (!folder || strcmp(folder, want) != 0) complain(&l->doubled, j, "another run than the last one has published", result);
    if (world_manifest_holds(result, j->id, &err)) complain(&l->unexpected, j, "what it published is not whole", err.msg);
}

static void judge_history(ledger *l, const ledger_job *j) {
    history h;
    history_read(&h, l->cast, j->id);
    if (h.doubled) complain(&l->doubled, j, h.what, "see its events");
    if (h.ends != 1 && h.events > 0 && !h.doubled)
        complain(&l->doubled, j, "its events tell of an end", h.ends ? "more than once" : "never");
    if (h.worst_rerun_ms > l->worst_rerun_ms) l->worst_rerun_ms = h.worst_rerun_ms;
    if (h.runs > 1 && strcmp(j->state, "done") == 0) l->recovered++;
}

static void judge(ledger *l, ledger_job *j) {
    char state[16];
    snprintf(state, sizeof state, "%s", mffa_test_field(redis_of(l), j->id, "state"));
    j->judged = true;
    if (!*state) return complain(&l->lost, j, "acknowledged", "its record is gone");
    if (!is_end(state)) return complain(&l->lost, j, "has not ended", state);
    if (j->ended_ms && strcmp(j->state, state) != 0) complain(&l->unexpected, j, "its end has changed to", state);
    snprintf(j->state, sizeof j->state, "%s", state);
    judge_history(l, j);
    if (strcmp(state, "done") == 0) l->done++, judge_done(l, j);
    else if (strcmp(state, "dead") == 0) l->dead++;
    else if (strcmp(state, "cancelled") == 0 && j->cancelled) l->cancelled++;
    else {
        if (strcmp(state, "failed") == 0) l->failed++;
        complain(&l->unexpected, j, state, mffa_test_field(redis_of(l), j->id, "reason"));
    }
    world_shell("rm -rf '%s/out/%s-%s'", l->cast->world->dir, j->kind, j->id); /* a run of hours would fill the disk */
}

void ledger_look(ledger *l) {
    int64_t now = mffa_now_ms();
    for (size_t i = l->first_open; i < l->count; i++) {
        ledger_job *j = &l->jobs[i];
        if (!j->ended_ms) {
            const char *state = mffa_test_field(redis_of(l), j->id, "state");
            if (is_end(state)) snprintf(j->state, sizeof j->state, "%s", state), j->ended_ms = now;
        }
        if (j->ended_ms && !j->judged && now - j->ended_ms > JUDGED_AFTER_MS && !l->cast->redis_mend_ms) judge(l, j);
        if (i == l->first_open && j->judged) l->first_open++;
    }
}

/* Jobs that nobody was told of. */
static void count_invented(ledger *l) {
    long known = (long)l->count + 1, there = 0;
    static const char *const indexes[] = {"done", "failed", "dead", "cancelled", "skipped", "blocked", "delayed", "lease"};
    for (size_t i = 0; i < MFFA_COUNT(indexes); i++)
        there += atol(mffa_test_ask(redis_of(l), "ZCARD mffa:{main}:%s", indexes[i]));
    if (there == known) return;
    fprintf(stderr, "%ld jobs are there, %ld were acknowledged\n", there, known);
    l->unexpected++;
}

void ledger_judge(ledger *l) {
    for (size_t i = l->first_open; i < l->count; i++)
        if (!l->jobs[i].judged) judge(l, &l->jobs[i]);
    count_invented(l);
}

bool ledger_print(const ledger *l) {
    printf("acknowledged=%zu done=%d failed=%d dead=%d cancelled=%d lost=%d doubled=%d unexpected=%d recovered=%d worst_rerun_s=%.1f\n",
           l->count, l->done, l->failed, l->dead, l->cancelled, l->lost, l->doubled, l->unexpected, l->recovered,
           (double)l->worst_rerun_ms / 1e3);
    return l->lost == 0 && l->doubled == 0 && l->unexpected == 0;
}

#include "tests/chaos/cast.h"

#include <signal.h>
#include <sys/wait.h>
#include "core/base/clock.h"
#include "tests/support/test.h"

static int64_t some_ms(cast *c, int64_t most) { return 1 + (int64_t)mffa_rng_below(&c->rng, (uint64_t)most); }

static void note_blow(cast *c, const cast_worker *w) {
    c->harms++;
    if ((c->blow_count & (c->blow_count - 1)) == 0) c->blows = realloc(c->blows, (c->blow_count ? 2 * c->blow_count : 1) * sizeof *c->blows);
    assert_non_null(c->blows);
    cast_blow *b = &c->blows[c->blow_count++];
    memcpy(b->worker, w->id, sizeof b->worker);
    b->at_ms = mffa_wall_ms();
}

int64_t cast_blow_within(const cast *c, const char *worker, int64_t from_ms, int64_t to_ms) {
    for (size_t i = 0; i < c->blow_count; i++)
        if (strcmp(c->blows[i].worker, worker) == 0 && c->blows[i].at_ms >= from_ms && c->blows[i].at_ms <= to_ms) return c->blows[i].at_ms;
    return 0;
}

static void start_worker(cast *c, cast_worker *w) {
    char weights[96], work[96], log[32];
    const char *dir = c->world->dir;
    snprintf(w->id, sizeof w->id, "w%d-%d", (int)(w - c->worker), ++c->lives);
    snprintf(weights, sizeof weights, "file://%s/weights", dir), snprintf(work, sizeof work, "%s/work", dir);
    snprintf(log, sizeof log, "worker-%d.log", (int)(w - c->worker));
    char *argv[] = {(char[]){MFFA_TEST_WORKER}, "--redis-url", w->link.url, "--worker-id", w->id, "--weights", weights, "--work-dir", work,
                    "--allowed-urls", "file:///tmp", "--beat-ms", "250", "--threads", "1", "--batch", "4", "--stall-ms", "10000", NULL};
    w->pid = world_spawn(c->world, log, argv);
    w->harm = UNHARMED;
}

static void start_scheduler(cast *c, cast_scheduler *s) {
    char lease[16], *argv[] = {(char[]){MFFA_TEST_SCHEDULER}, "--redis-url", c->world->redis.url, "--lease-ms", lease, "--reap-ms", "100",
                               "--backoff-ms", "50", NULL};
    snprintf(lease, sizeof lease, "%d", CAST_LEASE_MS);
    s->pid = world_spawn(c->world, "scheduler.log", argv);
    s->mend_ms = 0;
}

void cast_open(cast *c, world *w, uint64_t seed, bool flushes) {
    *c = (cast){.world = w, .flushes = flushes};
    mffa_rng_init(&c->rng, seed, 0);
    for (int i = 0; i < CAST_SCHEDULERS; i++) start_scheduler(c, &c->scheduler[i]);
    for (int i = 0; i < CAST_WORKERS; i++) mffa_cutter_start(&c->worker[i].link, &w->redis), start_worker(c, &c->worker[i]);
}

void cast_close(cast *c) {
    for (int i = 0; i < CAST_WORKERS; i++) world_kill(c->worker[i].pid), mffa_cutter_stop(&c->worker[i].link);
    for (int i = 0; i < CAST_SCHEDULERS; i++) world_kill(c->scheduler[i].pid);
    free(c->blows);
}

/* ---- harm ---- */

static void kill_worker(cast *c, cast_worker *w) {
    note_blow(c, w);
    world_kill(w->pid);
    w->harm = KILLED, w->mend_ms = mffa_now_ms() + some_ms(c, 1500);
}

/* One or several at once: the second does not wait. */
static void terminate(cast *c, cast_worker *w) {
    note_blow(c, w);
    for (int i = (int)mffa_rng_below(&c->rng, 3); i >= 0; i--) kill(w->pid, SIGTERM);
    w->harm = KILLED, w->mend_ms = mffa_now_ms() + 1000 + some_ms(c, 2000);
}

static void stop_worker(cast *c, cast_worker *w) {
    note_blow(c, w);
    kill(w->pid, SIGSTOP);
    w->harm = STOPPED, w->mend_ms = mffa_now_ms() + some_ms(c, 3 * CAST_LEASE_MS);
}

static void stop_executor(cast *c, cast_worker *w) {
    w->executor = world_executor(w->pid);
    if (w->executor <= 0) return;
    note_blow(c, w);
    kill(w->executor, SIGSTOP);
    w->harm = EXECUTOR_STOPPED, w->mend_ms = mffa_now_ms() + some_ms(c, CAST_LEASE_MS);
}

static void kill_executor(cast *c, cast_worker *w) {
    pid_t executor = world_executor(w->pid);
    if (executor <= 0) return;
    note_blow(c, w);
    kill(executor, SIGKILL);
}

/* Nothing comes or goes, and no connection is refused. */
static void cut_off(cast *c, cast_worker *w) {
    note_blow(c, w);
    kill(w->link.pid, SIGSTOP);
    w->harm = CUT_OFF, w->mend_ms = mffa_now_ms() + some_ms(c, 3 * CAST_LEASE_MS);
}

static void disconnect(cast *c, cast_worker *w) {
    note_blow(c, w);
    mffa_cutter_stop(&w->link);
    w->harm = DISCONNECTED, w->mend_ms = mffa_now_ms() + some_ms(c, 1500);
}

static void kill_redis(cast *c) {
    if (c->redis_mend_ms) return;
    c->harms++;
    mffa_test_redis_kill(&c->world->redis);
    c->redis_mend_ms = mffa_now_ms() + some_ms(c, 1500);
}

static void kill_scheduler(cast *c) {
    cast_scheduler *s = &c->scheduler[mffa_rng_below(&c->rng, CAST_SCHEDULERS)];
    if (s->mend_ms) return;
    c->harms++;
    world_kill(s->pid);
    s->mend_ms = mffa_now_ms() + some_ms(c, 3000);
}

static void flush_functions(cast *c) {
    if (c->redis_mend_ms || !c->flushes) return;
    c->harms++;
    (void)mffa_test_ask(&c->world->redis, "FUNCTION FLUSH");
}

void cast_harm(cast *c) {
    static void (*const to_worker[])(cast *, cast_worker *) = {kill_worker,   kill_worker, terminate, stop_worker, stop_executor,
                                                               kill_executor, cut_off,     disconnect};
    static void (*const to_others[])(cast *) = {kill_redis, kill_scheduler, flush_functions};
    uint64_t which = mffa_rng_below(&c->rng, MFFA_COUNT(to_worker) + MFFA_COUNT(to_others));
    cast_worker *w = &c->worker[mffa_rng_below(&c->rng, CAST_WORKERS)];
    if (which >= MFFA_COUNT(to_worker)) to_others[which - MFFA_COUNT(to_worker)](c);
    else if (w->harm == UNHARMED) to_worker[which](c, w);
}

/* ---- mending ---- */

static void mend_worker(cast *c, cast_worker *w) {
    if (w->harm == KILLED) world_kill(w->pid), start_worker(c, w);
    if (w->harm == STOPPED) kill(w->pid, SIGCONT);
    if (w->harm == EXECUTOR_STOPPED && world_executor(w->pid) == w->executor) kill(w->executor, SIGCONT);
    if (w->harm == CUT_OFF) kill(w->link.pid, SIGCONT);
    if (w->harm == DISCONNECTED) mffa_cutter_restart(&w->link, &c->world->redis);
    w->harm = UNHARMED;
}

void cast_mend(cast *c, bool all) {
    int64_t now = mffa_now_ms();
    if (c->redis_mend_ms && (all || now >= c->redis_mend_ms)) mffa_test_redis_restart(&c->world->redis), c->redis_mend_ms = 0;
    for (int i = 0; i < CAST_SCHEDULERS; i++) {
        cast_scheduler *s = &c->scheduler[i];
        bool due = s->mend_ms && (all || now >= s->mend_ms);
        if (due || (!s->mend_ms && waitpid(s->pid, NULL, WNOHANG) == s->pid)) start_scheduler(c, s); /* one that found no Redis ends */
    }
    for (int i = 0; i < CAST_WORKERS; i++) {
        cast_worker *w = &c->worker[i];
        if (w->harm != UNHARMED && (all || now >= w->mend_ms)) mend_worker(c, w);
        if (w->harm == UNHARMED && waitpid(w->pid, NULL, WNOHANG) == w->pid) start_worker(c, w); /* started while Redis was away */
    }
}

bool cast_dismiss(cast *c) {
    bool good = true;
    for (int i = 0; i < CAST_WORKERS; i++) good &= world_stop(c->worker[i].pid) == 0, c->worker[i].pid = 0;
    return good;
}

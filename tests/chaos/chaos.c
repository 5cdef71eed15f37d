/* chaos SECONDS [fences]: real workers with a short real job kind, killed, stopped, cut off and restarted at random together with Redis and
 * the schedulers, then left in peace until everything has ended. Prints one line, and exits 1 if a job was lost, or had its effect twice,
 * or came out otherwise than it may. MFFA_TEST_SEED=<number> repeats the same harm (not the same moments). With "fences" the library lets
 * any run of a job speak for it: then the line must say so. */
#include <signal.h>
#include "core/base/clock.h"
#include "scheduler/functions.h"
#include "tests/chaos/ledger.h"
#include "tests/support/test.h"

enum { TICK_MS = 50, OPEN_JOBS = 12, PEACE_MS = 180000 };

static uint64_t seed_for_this_run(void) {
    const char *given = getenv("MFFA_TEST_SEED");
    uint32_t seed = 0;
    mffa_err err = {0};
    if (given) return strtoull(given, NULL, 10);
    assert_ok(mffa_random_bytes(&seed, sizeof seed, &err));
    return seed;
}

/* The library without its fences, under the same name and version. */
static void break_fences(world *w) {
    static const char whole[] = "local same = j.run == run and j.nonce == nonce";
    const char *at = strstr(mffa_functions_source, whole);
    MFFA_AUTO(mffa_free_p) char *text = NULL;
    assert_non_null(at);
    int before = (int)(at - mffa_functions_source);
    assert_true(asprintf(&text, "%.*slocal same = true%s", before, mffa_functions_source, at + strlen(whole)) > 0);
    mffa_span words[4] = {mffa_span_of("FUNCTION"), mffa_span_of("LOAD"), mffa_span_of("REPLACE"), mffa_span_of(text)};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    assert_ok(mffa_queue_command(w->redis.queue, words, 4, &reply, &err));
}

static void rage(cast *c, ledger *l, int64_t ms) {
    int64_t until = mffa_now_ms() + ms, next_harm_ms = mffa_now_ms();
    while (mffa_now_ms() < until) {
        cast_mend(c, false);
        if (mffa_now_ms() >= next_harm_ms) {
            cast_harm(c);
            next_harm_ms = mffa_now_ms() + 1 + (int64_t)mffa_rng_below(&c->rng, 600);
        }
        if (!c->redis_mend_ms) ledger_look(l);
        if (ledger_open_jobs(l) < OPEN_JOBS) ledger_submit(l);
        if (mffa_rng_below(&c->rng, 15) == 0) ledger_cancel(l);
        mffa_sleep_ms(TICK_MS);
    }
}

/* Until everything has ended, or should have. */
static void calm(cast *c, ledger *l) {
    cast_mend(c, true);
    for (int64_t until = mffa_now_ms() + PEACE_MS; mffa_now_ms() < until; mffa_sleep_ms(TICK_MS)) {
        if (!ledger_settled(l)) ledger_submit(l);
        ledger_look(l);
        cast_mend(c, false);
        if (ledger_settled(l) && ledger_open_jobs(l) == 0) return;
    }
}

int main(int argc, char **argv) {
    world w;
    cast c;
    ledger l;
    int seconds = argc > 1 ? atoi(argv[1]) : 0;
    bool broken = argc > 2 && strcmp(argv[2], "fences") == 0;
    if (seconds < 1 || argc > 3 || (argc == 3 && !broken)) return fprintf(stderr, "usage: %s SECONDS [fences]\n", argv[0]), 2;
    uint64_t seed = seed_for_this_run();
    fprintf(stderr, "seed %llu (MFFA_TEST_SEED repeats it)\n", (unsigned long long)seed);
    world_open(&w, 2, 64);
    world_kill(w.scheduler), w.scheduler = 0; /* the cast has its own */
    if (broken) break_fences(&w);
    cast_open(&c, &w, seed, !broken);
    ledger_open(&l, &c);
    rage(&c, &l, seconds * INT64_C(1000));
    calm(&c, &l);
    if (!cast_dismiss(&c)) fprintf(stderr, "a worker did not exit with 0\n"), l.unexpected++;
    ledger_judge(&l);
    fprintf(stderr, "%d harms, %d lives of workers\n", c.harms, c.lives);
    bool good = ledger_print(&l);
    if (!good && !broken) world_shell("tail -n 40 '%s'/worker-*.log '%s'/scheduler.log >&2", w.dir, w.dir);
    cast_close(&c);
    ledger_close(&l);
    world_close(&w);
    return good ? 0 : 1;
}

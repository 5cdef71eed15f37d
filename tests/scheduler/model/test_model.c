/* The property test of the queue: random schedules against a real Redis whose clock the test moves, beside the model. MFFA_TEST_SEED
 * repeats a run, MFFA_TEST_STEPS makes it longer. Then the same against libraries that are broken on purpose: it can fail.
 * Two processes, each with a Redis of its own, share the work. A seed repeats the calls, not the epochs in the ids. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "scheduler/functions.h"
#include "tests/scheduler/model/mutants.h"
#include "tests/scheduler/model/schedule.h"
#include "tests/support/test.h"

enum { STEPS = 200000, MUTANT_STEPS = 40000, SHRINK_STEPS = 100000, SHARES = 2 };

static bench world;
static uint64_t share, seed; /* of this process: every SHARES-th schedule and broken library; of all */

static uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

/* Shrinks, prints the shortest schedule found with its answers, and fails the test. */
static void report(schedule *s, int at) {
    int full = at;
    printf("%s\n", world.why), fflush(stdout);
    s->count = at;
    schedule_shrink(&world, s, SHRINK_STEPS);
    printf("the shortest failing schedule found has %d of %d steps:\n", s->count, full);
    world.tell = true;
    if (schedule_run(&world, s, &at)) printf("(it passes when repeated)\n");
    world.tell = false;
    fflush(stdout);
    fail_msg("%s", world.why);
}

static void redis_and_the_model_agree_after_every_step_of_random_schedules(void **state) {
    (void)state;
    static schedule s;
    uint64_t steps = number_from("MFFA_TEST_STEPS", STEPS) / SHARES;
    world.source = mffa_functions_source, world.steps = 0;
    int64_t began = mffa_now_ms();
    uint64_t n = share;
    for (int at; (uint64_t)world.steps < steps; n += SHARES) {
        schedule_make(&s, seed, n);
        if (!schedule_run(&world, &s, &at)) report(&s, at);
    }
    printf("%ld steps in %llu schedules, %.0f s; seed %llu\n", world.steps, (unsigned long long)(n / SHARES),
           (double)(mffa_now_ms() - began) / 1000, (unsigned long long)seed);
    fflush(stdout);
}

static long steps_until_caught(const char *source, uint64_t from) {
    static schedule s;
    world.source = source, world.steps = 0;
    for (uint64_t n = 0; world.steps < MUTANT_STEPS; n++) {
        int at;
        schedule_make(&s, from, n);
        if (!schedule_run(&world, &s, &at)) return world.steps;
    }
    return -1;
}

static void every_broken_library_is_caught(void **state) {
    (void)state;
    int missed = 0;
    for (size_t i = share; i < mutant_count; i += SHARES) {
        MFFA_AUTO(mffa_free_p) char *source = mutant_source(&mutants[i]);
        long steps = steps_until_caught(source, 1000 + i);
        if (steps < 0) missed++;
        printf("%7ld steps  %s\n", steps, mutants[i].what);
        if (steps >= 0 && getenv("MFFA_TEST_TELL")) printf("%s\n", world.why);
        fflush(stdout);
    }
    assert_int_equal(missed, 0);
}

static int start(void **state) {
    (void)state;
    bench_open(&world);
    return 0;
}
static int stop(void **state) {
    (void)state;
    bench_close(&world);
    return 0;
}

static int work(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_and_the_model_agree_after_every_step_of_random_schedules),
        cmocka_unit_test(every_broken_library_is_caught),
    };
    return cmocka_run_group_tests_name(share ? "model, second share" : "model, first share", tests, start, stop);
}

int main(void) {
    pid_t pids[SHARES];
    int worst = 0;
    mffa_err err = {0};
    if (mffa_random_bytes(&seed, 4, &err)) return fprintf(stderr, "%s\n", err.msg), 1;
    seed = number_from("MFFA_TEST_SEED", seed);
    printf("seed %llu (MFFA_TEST_SEED repeats it)\n", (unsigned long long)seed), fflush(stdout);
    for (share = 0; share < SHARES; share++) {
        pids[share] = fork();
        if (pids[share] < 0) return perror("fork"), 1;
        if (pids[share] == 0) return prctl(PR_SET_PDEATHSIG, SIGKILL), work();
    }
    for (int i = 0, status; i < SHARES; i++) {
        int rc = waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        if (rc && (!worst || worst == MFFA_TEST_SKIP)) worst = rc;
    }
    return worst;
}

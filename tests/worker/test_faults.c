/* Workers and executors that die, stop, hang or are told to: the job ends once, and right. */
#include <fcntl.h>
#include <signal.h>
#include "core/base/clock.h"
#include "tests/support/test.h"
#include "tests/worker/world.h"

static world w;

/* Long enough to be interrupted: a second or two on one core. */
static const char *submit_fit(void) {
    return world_submit(&w, "fit dataset file://%s/dataset output file://%s/out side 224 blocks 2 ratio 0.02", w.dir, w.dir);
}

static void a_killed_executor_costs_one_run_and_the_job_is_done(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    pid_t executor = world_executor(worker);
    assert_true(executor > 0);
    assert_int_equal(kill(executor, SIGKILL), 0);
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "run"), "2");
    assert_string_equal(mffa_test_field(&w.redis, id, "failures"), "1");
    assert_true(world_executor(worker) != executor);
    world_check_manifest(&w, id);
    world_shell("test $(ls -d '%s'/out/fit-%s/run-* | wc -l) = 1", w.dir, id);
    assert_int_equal(world_stop(worker), 0);
}

static void an_executor_ends_with_its_supervisor_and_another_worker_takes_the_job(void **state) {
    (void)state;
    pid_t first = world_worker(&w, NULL), second = world_worker(&w, (const char *const[]){"--kinds", "score", NULL});
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    pid_t executor = world_executor(first);
    world_kill(first);
    assert_true(world_gone_within(executor, 1000));
    assert_int_equal(world_stop(second), 0);
    pid_t third = world_worker(&w, NULL);
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "run"), "2");
    assert_string_equal(mffa_test_field(&w.redis, id, "lost"), "1");
    world_check_manifest(&w, id);
    assert_int_equal(world_stop(third), 0);
}

static void sigterm_hands_the_job_back_and_exits_0(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    pid_t executor = world_executor(worker);
    assert_int_equal(world_stop(worker), 0);
    assert_true(world_gone_within(executor, 1000));
    assert_string_equal(mffa_test_field(&w.redis, id, "state"), "queued");
    assert_string_equal(mffa_test_field(&w.redis, id, "preempted"), "1");
    pid_t next = world_worker(&w, NULL);
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "run"), "2");
    assert_int_equal(world_stop(next), 0);
}

static void a_run_on_a_data_set_that_has_changed_says_so(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    assert_int_equal(world_stop(worker), 0);
    world_shell("cd '%s/dataset/train/good' && cp \"$(ls | head -n 1)\" zz_late.png", w.dir);
    pid_t next = world_worker(&w, NULL);
    world_wait(&w, id, "done");
    world_shell("rm '%s/dataset/train/good/zz_late.png'", w.dir);
    assert_non_null(
        strstr(mffa_test_field(&w.redis, id, "note"), "the data set has changed since an earlier run of this job: its listing was "));
    assert_string_equal(mffa_test_field(&w.redis, id, "train_images"), "25");
    const char *same = submit_fit();
    world_wait(&w, same, "done");
    assert_string_equal(mffa_test_field(&w.redis, same, "note"), "");
    assert_int_equal(world_stop(next), 0);
}

static void a_cancelled_job_stops_and_the_worker_takes_the_next(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    int64_t asked = mffa_now_ms();
    (void)mffa_test_fcall(&w.redis, "cancel %s", id);
    world_wait(&w, id, "cancelled");
    assert_true(mffa_now_ms() - asked < 6000);
    assert_string_equal(mffa_test_field(&w.redis, id, "result"), "");
    const char *next = world_submit(&w, "fit dataset file://%s/dataset output file://%s/out side 64 blocks 0 ratio 0.1", w.dir, w.dir);
    world_wait(&w, next, "done");
    assert_int_equal(world_stop(worker), 0);
}

static void a_cancelled_job_whose_executor_does_not_listen_is_killed_by_its_supervisor(void **state) {
    (void)state;
    (void)mffa_test_fcall(&w.redis, "configure lease_ms 30000"); /* so that it is the worker who ends it, not the lease */
    pid_t worker = world_worker(&w, (const char *const[]){"--beat-ms", "4000", NULL});
    const char *id = submit_fit();
    world_wait(&w, id, "running");
    pid_t executor = world_executor(worker);
    assert_int_equal(kill(executor, SIGSTOP), 0);
    int64_t asked = mffa_now_ms();
    (void)mffa_test_fcall(&w.redis, "cancel %s", id);
    world_wait(&w, id, "cancelled");
    assert_true(world_gone_within(executor, 100));
    int64_t took = mffa_now_ms() - asked;
    print_message("free after %lld ms: 6 s on a machine with time\n", (long long)took);
    assert_true(took < 25000);
    (void)mffa_test_fcall(&w.redis, "configure lease_ms %d", WORLD_LEASE_MS);
    assert_int_equal(world_stop(worker), 0);
}

static void an_executor_that_hangs_is_killed_and_the_reason_says_so(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, (const char *const[]){"--stall-ms", "1000", NULL});
    const char *id = world_submit(&w, "fit dataset file://%s/dataset output file://%s/out side 224 blocks 2 retries 0", w.dir, w.dir);
    world_wait_phase(&w, id, "features");
    assert_int_equal(kill(world_executor(worker), SIGSTOP), 0);
    world_wait(&w, id, "failed");
    world_assert_reason(&w, id, "no progress for 1000 ms (MFFA_STALL_MS) in phase \"features\"");
    assert_int_equal(world_stop(worker), 0);
}

static void a_worker_that_slept_too_long_is_fenced_and_publishes_nothing(void **state) {
    (void)state;
    pid_t slow = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    assert_int_equal(kill(slow, SIGSTOP), 0);
    pid_t fast = world_worker(&w, NULL);
    world_wait(&w, id, "done");
    char result[512];
    snprintf(result, sizeof result, "%s", mffa_test_field(&w.redis, id, "result"));
    assert_int_equal(kill(slow, SIGCONT), 0);
    assert_int_equal(world_stop(slow), 0);
    assert_string_equal(mffa_test_field(&w.redis, id, "result"), result);
    world_check_manifest(&w, id);
    world_shell("test \"$(ls '%s/out/fit-%s')\" = '%s'", w.dir, id, strrchr(result, '/') + 1); /* nor does it leave anything */
    assert_int_equal(world_stop(fast), 0);
}

static void a_killed_fine_tuning_goes_on_from_its_last_epoch(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = world_submit(&w, "finetune dataset file://%s/dataset output file://%s/out side 64 epochs 12 batch 8", w.dir, w.dir);
    char path[192];
    snprintf(path, sizeof path, "%s/out/finetune-%s/checkpoint/checkpoint.safetensors", w.dir, id);
    for (int i = 0; access(path, F_OK) != 0 && i < 6000; i++) mffa_sleep_ms(20);
    assert_int_equal(kill(world_executor(worker), SIGKILL), 0);
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "run"), "2");
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = world_summary(&w, id);
    assert_in_range(mffa_json_int(mffa_json_get(j, "resumed_epoch"), 0), 1, 12);
    assert_int_equal(access(path, F_OK), -1);
    world_check_manifest(&w, id);
    assert_int_equal(world_stop(worker), 0);
}

static void a_job_outlives_a_restart_of_redis(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    mffa_test_redis_kill(&w.redis);
    mffa_sleep_ms(1000); /* beats fail meanwhile */
    mffa_test_redis_restart(&w.redis);
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "run"), "1");
    world_check_manifest(&w, id);
    assert_int_equal(world_stop(worker), 0);
}

static void a_drained_worker_finishes_its_job_and_exits_0(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, (const char *const[]){"--worker-id", "drainee", NULL});
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    (void)mffa_test_fcall(&w.redis, "drain drainee");
    world_wait(&w, id, "done");
    assert_int_equal(world_wait_exit(worker), 0); /* nobody sent it a signal */
}

static void a_worker_of_a_drained_ones_name_starts_anew(void **state) {
    (void)state;
    static const char *const name[] = {"--worker-id", "drainee", NULL};
    pid_t first = world_worker(&w, name);
    (void)mffa_test_fcall(&w.redis, "drain drainee");
    assert_int_equal(world_wait_exit(first), 0);
    pid_t second = world_worker(&w, name);
    const char *id = world_submit(&w, "fit dataset file://%s/dataset output file://%s/out side 64 blocks 0 ratio 0.1", w.dir, w.dir);
    world_wait(&w, id, "done");
    assert_int_equal(world_stop(second), 0);
}

static void a_job_that_takes_every_supervisor_with_it_is_dead_after_three_and_the_next_one_runs(void **state) {
    (void)state;
    const char *poison = submit_fit();
    const char *next = world_submit(&w, "fit dataset file://%s/dataset output file://%s/out side 64 blocks 0 ratio 0.1", w.dir, w.dir);
    for (int i = 0; i < 3; i++) {
        pid_t worker = world_worker(&w, NULL);
        char run[8];
        snprintf(run, sizeof run, "%d", i + 1);
        while (strcmp(mffa_test_field(&w.redis, poison, "run"), run) != 0) mffa_sleep_ms(10);
        world_kill(worker);
    }
    world_wait(&w, poison, "dead");
    world_assert_reason(&w, poison, "its workers were lost 3 times, last ");
    pid_t worker = world_worker(&w, NULL);
    world_wait(&w, next, "done");
    assert_int_equal(world_stop(worker), 0);
}

static void a_job_that_takes_every_executor_with_it_fails_when_its_retries_are_used_up(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    for (int killed = 0; strcmp(mffa_test_field(&w.redis, id, "state"), "failed") != 0;) {
        char run[8];
        snprintf(run, sizeof run, "%d", killed + 1);
        bool its_turn =
            strcmp(mffa_test_field(&w.redis, id, "run"), run) == 0 && strcmp(mffa_test_field(&w.redis, id, "phase"), "features") == 0;
        if (its_turn) kill(world_executor(worker), SIGKILL), killed++;
        mffa_sleep_ms(5);
    }
    world_assert_reason(&w, id, "the executor was killed by SIGKILL (out of memory?");
    assert_string_equal(mffa_test_field(&w.redis, id, "failures"), "3");
    const char *next = world_submit(&w, "fit dataset file://%s/dataset output file://%s/out side 64 blocks 0 ratio 0.1", w.dir, w.dir);
    world_wait(&w, next, "done");
    assert_int_equal(world_stop(worker), 0);
}

static void a_storm_of_signals_costs_a_run_and_no_job(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    for (int i = 0; i < 20; i++) kill(worker, i % 2 ? SIGINT : SIGTERM);
    (void)world_wait_exit(worker);
    pid_t next = world_worker(&w, NULL);
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "failures"), "");
    world_check_manifest(&w, id);
    world_shell("test $(ls -d '%s'/out/fit-%s/run-* | wc -l) = 1", w.dir, id);
    assert_int_equal(world_stop(next), 0);
}

static void a_job_outlives_a_redis_that_answers_nobody_for_twice_the_lease(void **state) {
    (void)state;
    pid_t worker = world_worker(&w, NULL);
    const char *id = submit_fit();
    world_wait_phase(&w, id, "features");
    assert_int_equal(kill(w.redis.pid, SIGSTOP), 0);
    mffa_sleep_ms(2 * WORLD_LEASE_MS);
    assert_int_equal(kill(w.redis.pid, SIGCONT), 0);
    world_wait(&w, id, "done");
    world_check_manifest(&w, id);
    assert_string_equal(mffa_test_field(&w.redis, id, "failures"), "");
    assert_int_equal(world_stop(worker), 0);
}

/* Its calendar stands still, two days ago. */
static void a_worker_whose_clock_is_wrong_works_like_any_other(void **state) {
    (void)state;
    char path[128];
    int64_t then = mffa_wall_ms() - INT64_C(172800000);
    snprintf(path, sizeof path, "%s/clock", w.dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, &then, sizeof then), sizeof then);
    close(fd);
    setenv("LD_PRELOAD", MFFA_TEST_CLOCK, 1), setenv("MFFA_TEST_CLOCK", path, 1);
    pid_t worker = world_worker(&w, NULL);
    unsetenv("LD_PRELOAD");
    const char *id = submit_fit();
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "run"), "1");
    world_check_manifest(&w, id);
    assert_int_equal(world_stop(worker), 0);
}

static int clean(void **state) {
    (void)state;
    world_kill_workers(&w);
    return 0;
}

static int start(void **state) {
    (void)state;
    world_open(&w, 24, 128);
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_close(&w);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_killed_executor_costs_one_run_and_the_job_is_done, clean),
        cmocka_unit_test_teardown(an_executor_ends_with_its_supervisor_and_another_worker_takes_the_job, clean),
        cmocka_unit_test_teardown(sigterm_hands_the_job_back_and_exits_0, clean),
        cmocka_unit_test_teardown(a_run_on_a_data_set_that_has_changed_says_so, clean),
        cmocka_unit_test_teardown(a_cancelled_job_stops_and_the_worker_takes_the_next, clean),
        cmocka_unit_test_teardown(a_cancelled_job_whose_executor_does_not_listen_is_killed_by_its_supervisor, clean),
        cmocka_unit_test_teardown(an_executor_that_hangs_is_killed_and_the_reason_says_so, clean),
        cmocka_unit_test_teardown(a_worker_that_slept_too_long_is_fenced_and_publishes_nothing, clean),
        cmocka_unit_test_teardown(a_killed_fine_tuning_goes_on_from_its_last_epoch, clean),
        cmocka_unit_test_teardown(a_job_outlives_a_restart_of_redis, clean),
        cmocka_unit_test_teardown(a_drained_worker_finishes_its_job_and_exits_0, clean),
        cmocka_unit_test_teardown(a_worker_of_a_drained_ones_name_starts_anew, clean),
        cmocka_unit_test_teardown(a_job_that_takes_every_supervisor_with_it_is_dead_after_three_and_the_next_one_runs, clean),
        cmocka_unit_test_teardown(a_job_that_takes_every_executor_with_it_fails_when_its_retries_are_used_up, clean),
        cmocka_unit_test_teardown(a_storm_of_signals_costs_a_run_and_no_job, clean),
        cmocka_unit_test_teardown(a_job_outlives_a_redis_that_answers_nobody_for_twice_the_lease, clean),
        cmocka_unit_test_teardown(a_worker_whose_clock_is_wrong_works_like_any_other, clean),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

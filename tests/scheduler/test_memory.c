/* 100 000 jobs come, end, and are forgotten: what they leave behind in Redis' memory, and what they took meanwhile. */
#include <sys/wait.h>
#include "core/base/clock.h"
#include "tests/support/redis_group.h"

enum { JOBS = 100000, RUN = 10000, LEFT_BYTES = 1 << 20 };
#define D "dataset s3://plant/line-4/bottle/2026-01 output s3://plant/results/line-4/bottle"

static long long number_of(const char *text, const char *name) {
    const char *at = strstr(text, name);
    return at ? atoll(at + strlen(name)) : -1;
}
static long long used(void) { return number_of(mffa_test_ask(&redis, "INFO memory"), "used_memory:"); }

/* Many commands in one go, through redis-cli --pipe. */
static FILE *pipe_open(void) {
    char command[192];
    snprintf(command, sizeof command, "redis-cli -s %s --pipe >%s/pipe.out 2>&1", redis.socket, redis.dir);
    FILE *f = popen(command, "w");
    assert_non_null(f);
    return f;
}
static void pipe_close(FILE *f) {
    int status = pclose(f);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The longest queue of this test; the jobs' epoch. */
static void submit_all(char epoch[8]) {
    assert_int_equal(sscanf(mffa_test_fcall(&redis, "submit fit " D), "%4[a-z0-9]-1", epoch), 1);
    FILE *f = pipe_open();
    for (int i = 2; i <= JOBS; i++) fprintf(f, "FCALL mffa_submit 0 fit " D "\r\n");
    pipe_close(f);
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{main}:ready:default:fit"), "100000");
}

/* The first ones run, the others are cancelled. */
static void end_all(const char *epoch) {
    FILE *f = pipe_open();
    for (int i = 1; i <= RUN; i++) {
        fprintf(f, "FCALL mffa_claim 0 w1 %032d\r\n", i);
        fprintf(f, "FCALL mffa_beat 0 %s-%d 1 %032d phase features done 1 total 2\r\n", epoch, i, i);
        fprintf(f, "FCALL mffa_finish 0 %s-%d 1 %032d s3://plant/results/%d image_auroc 0.99\r\n", epoch, i, i, i);
    }
    for (int i = RUN + 1; i <= JOBS; i++) fprintf(f, "FCALL mffa_cancel 0 %s-%d\r\n", epoch, i);
    pipe_close(f);
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{main}:done"), "10000");
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{main}:cancelled"), "90000");
}

static int forget_all(void) {
    int removed = 0;
    for (int64_t until = mffa_now_ms() + 120000; removed < JOBS && mffa_now_ms() < until;)
        removed += (int)number_of(mffa_test_fcall(&redis, "reap"), "removed ");
    return removed;
}

static void memory_comes_back_after_the_retention_time(void **state) {
    (void)state;
    char epoch[8];
    mffa_test_fcall(&redis, "configure retention_s 1");
    mffa_test_fcall(&redis, "reap");
    long long before = used();
    submit_all(epoch);
    long long queued = used() - before;
    end_all(epoch);
    long long ended = used() - before;
    assert_int_equal(forget_all(), JOBS);
    long long left = LEFT_BYTES; /* Redis gives its tables back bit by bit */
    for (int64_t until = mffa_now_ms() + 30000; left >= LEFT_BYTES && mffa_now_ms() < until; mffa_sleep_ms(50))
        left = used() - before - atoll(mffa_test_ask(&redis, "MEMORY USAGE mffa:{main}:ev SAMPLES 0"));
    printf("%d jobs: %lld bytes each while queued; %.1f MB with %d done and %d cancelled; %lld bytes more than before after all are "
           "forgotten, besides the stream of the last events (%s bytes)\n",
           JOBS, queued / JOBS, (double)ended / 1e6, RUN, JOBS - RUN, left, mffa_test_ask(&redis, "MEMORY USAGE mffa:{main}:ev SAMPLES 0"));
    assert_true(left < LEFT_BYTES);
    assert_true(queued / JOBS < 600);
    mffa_test_ask(&redis, "DEL mffa:{main}:worker:w1 mffa:{main}:workers mffa:{main}:wake:default mffa:{main}:ev");
    mffa_test_ask(&redis, "DEL mffa:{main}:counts");
    assert_string_equal(mffa_test_ask(&redis, "KEYS *"), "mffa:{main}:cfg");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_comes_back_after_the_retention_time)};
    return cmocka_run_group_tests_name("memory", tests, start, stop);
}

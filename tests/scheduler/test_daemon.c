#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "core/base/clock.h"
#include "tests/support/http.h"
#include "tests/support/redis.h"
#include "tests/support/test.h"

static mffa_test_redis redis;
#define D "dataset s3://plant/bottle output s3://plant/out"

typedef struct daemon_run {
    pid_t pid;
    char log[160]; /* what it says on stderr */
} daemon_run;

static void start_scheduler(daemon_run *d, const char *url, const char *flag, const char *value) {
    static int count;
    pid_t parent = getpid();
    snprintf(d->log, sizeof d->log, "%s/scheduler-%d.log", redis.dir, ++count);
    d->pid = fork();
    assert_true(d->pid >= 0);
    if (d->pid > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    int fd = open(d->log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(fd, 2);
    execl(MFFA_TEST_SCHEDULER, MFFA_TEST_SCHEDULER, "--redis-url", url, "--reap-ms", "20", flag, value, (char *)NULL);
    _exit(127);
}

static int exit_code(daemon_run *d) {
    int status = 0;
    assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool log_has(const daemon_run *d, const char *text) {
    MFFA_AUTO(mffa_buf_done) mffa_buf log = {0};
    return mffa_buf_read_file(&log, d->log, 1 << 20, NULL) == MFFA_OK && strstr(mffa_buf_text(&log), text);
}

#define wait_for(condition)                                          \
    do {                                                             \
        int tries_ = 0;                                              \
        while (!(condition) && ++tries_ < 1500) mffa_sleep_ms(10);   \
        if (tries_ == 1500) fail_msg("never came true: " #condition); \
    } while (0)

static const char *state_of(const char *id) { return mffa_test_field(&redis, id, "state"); }

/* A delayed job that is due: it becomes queued when somebody reaps. */
static const char *due_job(void) {
    const char *id = mffa_test_fcall(&redis, "submit fit " D " delay 1000");
    mffa_test_ask(&redis, "ZADD mffa:{main}:delayed 1 %s", id);
    return id;
}

static void it_ends_with_one_sentence_when_it_cannot_work(void **state) {
    (void)state;
    daemon_run d;
    start_scheduler(&d, "unix:///nowhere/redis.sock", NULL, NULL);
    assert_int_equal(exit_code(&d), 1);
    assert_true(log_has(&d, "could not connect to Redis at \\\"/nowhere/redis.sock\\\": No such file or directory"));
    start_scheduler(&d, redis.url, "--lease-ms", "5");
    assert_int_equal(exit_code(&d), 1);
    assert_true(log_has(&d, "--lease-ms=\\\"5\\\": expected an integer from 200 to 3600000"));
    start_scheduler(&d, redis.url, "now", NULL);
    assert_int_equal(exit_code(&d), 1);
    assert_true(log_has(&d, "unknown argument \\\"now\\\": --help lists the settings"));
    mffa_test_ask(&redis, "CONFIG SET maxmemory 1gb maxmemory-policy volatile-lru");
    start_scheduler(&d, redis.url, NULL, NULL);
    assert_int_equal(exit_code(&d), 1);
    assert_true(log_has(&d, "Redis may evict keys"));
    mffa_test_ask(&redis, "CONFIG SET maxmemory 0 maxmemory-policy noeviction");
}

static void it_loads_the_library_stores_its_settings_reaps_and_stops_at_sigterm(void **state) {
    (void)state;
    daemon_run d;
    mffa_test_ask(&redis, "FUNCTION FLUSH");
    start_scheduler(&d, redis.url, "--lease-ms", "7000");
    wait_for(log_has(&d, "scheduler.start"));
    const char *id = due_job();
    wait_for(strcmp(state_of(id), "queued") == 0);
    assert_string_equal(mffa_test_ask(&redis, "HGET mffa:{main}:cfg lease_ms"), "7000");
    kill(d.pid, SIGTERM);
    assert_int_equal(exit_code(&d), 0);
    assert_true(log_has(&d, "scheduler.stop"));
    assert_false(log_has(&d, "\"level\":\"error\""));
}

static void it_goes_on_after_redis_was_restarted_and_the_library_flushed(void **state) {
    (void)state;
    daemon_run d;
    start_scheduler(&d, redis.url, NULL, NULL);
    wait_for(log_has(&d, "scheduler.start"));
    const char *id = due_job();
    wait_for(strcmp(state_of(id), "queued") == 0);
    mffa_test_redis_kill(&redis);
    wait_for(log_has(&d, "reap.failed"));
    mffa_test_redis_restart(&redis);
    wait_for(log_has(&d, "redis.back"));
    assert_string_equal(state_of(id), "queued"); /* it had been kept */
    assert_false(log_has(&d, "redis.lost_writes"));
    mffa_test_ask(&redis, "FUNCTION FLUSH");
    wait_for(strcmp(mffa_test_fcall(&redis, "version"), "3") == 0);
    id = due_job();
    wait_for(strcmp(state_of(id), "queued") == 0);
    kill(d.pid, SIGTERM);
    assert_int_equal(exit_code(&d), 0);
}

static void it_says_when_redis_has_lost_what_it_knew(void **state) {
    (void)state;
    daemon_run d;
    start_scheduler(&d, redis.url, NULL, NULL);
    wait_for(log_has(&d, "scheduler.start"));
    mffa_test_fcall(&redis, "submit fit " D);
    int tick = atoi(mffa_test_ask(&redis, "HGET mffa:{main}:cfg tick"));
    wait_for(atoi(mffa_test_ask(&redis, "HGET mffa:{main}:cfg tick")) > tick);
    mffa_test_ask(&redis, "FLUSHALL");
    wait_for(log_has(&d, "redis.lost_writes"));
    wait_for(strcmp(mffa_test_ask(&redis, "HGET mffa:{main}:cfg lease_ms"), "30000") == 0); /* its settings are stored again */
    kill(d.pid, SIGTERM);
    assert_int_equal(exit_code(&d), 0);
}

static void two_of_them_do_each_thing_once(void **state) {
    (void)state;
    daemon_run a, b;
    start_scheduler(&a, redis.url, NULL, NULL);
    start_scheduler(&b, redis.url, NULL, NULL);
    wait_for(log_has(&a, "scheduler.start") && log_has(&b, "scheduler.start"));
    for (int i = 0; i < 50; i++) due_job();
    wait_for(strcmp(mffa_test_ask(&redis, "ZCARD mffa:{main}:delayed"), "0") == 0);
    assert_int_equal(mffa_test_check_rules(&redis), 50);
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{main}:ready:default:fit"), "50");
    kill(a.pid, SIGTERM), kill(b.pid, SIGTERM);
    assert_int_equal(exit_code(&a), 0);
    assert_int_equal(exit_code(&b), 0);
    assert_false(log_has(&a, "\"level\":\"error\"") || log_has(&b, "\"level\":\"error\""));
}

/* The exit code of mffa-scheduler --health. */
static int health_code(const char *listen) {
    char command[512];
    snprintf(command, sizeof command, "%s --health --listen %s", MFFA_TEST_SCHEDULER, listen);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_numbers_of_the_queue_are_served(void **state) {
    (void)state;
    daemon_run d;
    MFFA_AUTO(mffa_buf_done) mffa_buf page = {0};
    char listen[32];
    mffa_test_ask(&redis, "CONFIG RESETSTAT");
    start_scheduler(&d, redis.url, "--listen", "127.0.0.1:0");
    wait_for(log_has(&d, "scheduler.start"));
    int port = mffa_test_http_port(d.log);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    wait_for(mffa_test_http(port, "GET", "/readyz", &page) == 200);
    assert_int_equal(health_code(listen), 0);
    const char *id = mffa_test_fcall(&redis, "submit fit " D " pool gpu");
    mffa_test_fcall(&redis, "submit fit " D " pool gpu");
    mffa_test_fcall(&redis, "submit fit");
    mffa_test_fcall(&redis, "pause kind score");
    mffa_test_fcall(&redis, "claim w1 0123456789abcdef0123456789abcdef pool gpu");
    wait_for(mffa_test_http(port, "GET", "/metrics", &page) == 200 &&
             mffa_test_sample(&page, "mffa_pool_jobs{pool=\"gpu\",state=\"running\"}") == 1 &&
             mffa_test_sample(&page, "mffa_calls_refused_total{code=\"BADFIELD\"}") == 1); /* Redis' own numbers may be older by a round */
    assert_true(mffa_test_sample(&page, "mffa_pool_jobs{pool=\"gpu\",state=\"queued\"}") == 1);
    assert_true(mffa_test_sample(&page, "mffa_queue_jobs{state=\"queued\"}") == 1);
    assert_true(mffa_test_sample(&page, "mffa_queue_jobs{state=\"running\"}") == 1);
    assert_true(mffa_test_sample(&page, "mffa_queue_jobs{state=\"done\"}") == 0);
    assert_true(mffa_test_sample(&page, "mffa_pool_workers{pool=\"gpu\",state=\"busy\"}") == 1);
    assert_true(mffa_test_sample(&page, "mffa_pool_oldest_queued_seconds{pool=\"gpu\"}") >= 0);
    assert_true(mffa_test_sample(&page, "mffa_queue_paused{what=\"kind\",name=\"score\"}") == 1);
    assert_true(mffa_test_sample(&page, "mffa_jobs_submitted_total") == 2);
    assert_true(mffa_test_sample(&page, "mffa_redis_up") == 1);
    assert_true(mffa_test_sample(&page, "mffa_redis_memory_used_bytes") > 1e5);
    mffa_test_promtool(&page);
    mffa_test_fcall(&redis, "finish %s 1 0123456789abcdef0123456789abcdef s3://plant/out/x", id);
    mffa_test_fcall(&redis, "resume kind score");
    mffa_test_ask(&redis, "XADD mffa:{main}:inbox * kind fitt");
    wait_for(mffa_test_http(port, "GET", "/metrics", &page) == 200 &&
             mffa_test_sample(&page, "mffa_jobs_ended_total{kind=\"fit\",state=\"done\"}") == 1);
    assert_true(mffa_test_sample(&page, "mffa_queue_paused{what=\"kind\",name=\"score\"}") == -1);
    wait_for(mffa_test_http(port, "GET", "/metrics", &page) == 200 &&
             mffa_test_sample(&page, "mffa_inbox_refused_total{code=\"BADKIND\"}") == 1);
    mffa_test_redis_kill(&redis);
    wait_for(mffa_test_http(port, "GET", "/readyz", &page) == 503);
    assert_int_equal(mffa_test_http(port, "GET", "/healthz", &page), 200);
    assert_int_equal(health_code(listen), 1);
    mffa_test_redis_restart(&redis);
    wait_for(mffa_test_http(port, "GET", "/readyz", &page) == 200);
    kill(d.pid, SIGTERM);
    assert_int_equal(exit_code(&d), 0);
    assert_true(log_has(&d, "scheduler.stop"));
}

static int empty(void **state) {
    (void)state;
    mffa_test_ask(&redis, "FLUSHALL");
    return 0;
}
static int start(void **state) {
    (void)state;
    mffa_test_redis_start(&redis, true);
    return 0;
}
static int stop(void **state) {
    (void)state;
    mffa_test_redis_stop(&redis);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_ends_with_one_sentence_when_it_cannot_work),
        cmocka_unit_test_setup(it_loads_the_library_stores_its_settings_reaps_and_stops_at_sigterm, empty),
        cmocka_unit_test_setup(it_goes_on_after_redis_was_restarted_and_the_library_flushed, empty),
        cmocka_unit_test_setup(it_says_when_redis_has_lost_what_it_knew, empty),
        cmocka_unit_test_setup(two_of_them_do_each_thing_once, empty),
        cmocka_unit_test_setup(the_numbers_of_the_queue_are_served, empty),
    };
    return cmocka_run_group_tests_name("daemon", tests, start, stop);
}

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "tests/support/redis_group.h"

#define D "dataset s3://plant/bottle output s3://plant/out"
#define N1 "11111111111111111111111111111111"
static const mffa_worker_info worker = {
    .id = "w1", .pool = "default", .kinds = "fit,score", .host = "node", .device = "cpu", .version = "0.1"};

static void wrong_addresses_are_refused_without_their_password(void **state) {
    (void)state;
    static const struct { const char *url, *message;
    } cases[] = {
        {"http://a",
         "the Redis URL starts with \"http\": expected redis://host:port/db, rediss://, redis+sentinel:// or unix:///path/to.sock"},
        {"secret@host",
         "the Redis URL starts with \"secret\": expected redis://host:port/db, rediss://, redis+sentinel:// or unix:///path/to.sock"},
        {"redis+sentinel://u:secret@h", "the Redis URL names no master: expected redis+sentinel://host:26379/master"},
        {"redis://u:secret@h,", "the Redis URL names no host: expected redis://host:port/db"},
        {"redis://", "the Redis URL names no host: expected redis://host:port/db"},
        {"redis://u:secret@", "the Redis URL names no host: expected redis://host:port/db"},
        {"redis://h:70000", "Redis port \"70000\": expected an integer from 0 to 65535"},
        {"redis://h:1x", "Redis port \"1x\": expected an integer from 0 to 65535"},
        {"redis://u:secret@h/one", "Redis database \"one\": expected an integer from 0 to 1048576"},
        {"redis://[::1", "Redis host \"[::1\": expected ] after the IPv6 address"},
        {"unix://run/redis.sock", "the Redis URL's socket path \"run/redis.sock\" is not absolute: expected unix:///path/to.sock"},
    };
    for (size_t i = 0; i < MFFA_COUNT(cases); i++) {
        mffa_err err = {0};
        mffa_queue *q = NULL;
        assert_int_not_equal(mffa_queue_open(&(mffa_queue_options){.url = cases[i].url, .name = "main"}, &q, &err), MFFA_OK);
        assert_string_equal(err.msg, cases[i].message);
        assert_null(q);
    }
    mffa_err err = {0};
    mffa_queue *q = NULL;
    assert_int_equal(mffa_queue_open(&(mffa_queue_options){.url = "redis://h", .name = "a b"}, &q, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "queue name \"a b\": expected 1 to 64 letters, digits or . _ -");
}

static void an_absent_redis_is_named_and_retryable(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    MFFA_AUTO(mffa_free_p) char *warning = NULL;
    assert_ok(mffa_queue_open(&(mffa_queue_options){.url = "unix://me:secret@/nowhere/redis.sock", .name = "main"}, &q, &err));
    assert_int_equal(mffa_queue_check_server(q, &warning, &err), MFFA_EIO);
    assert_string_equal(err.msg, "could not connect to Redis at \"/nowhere/redis.sock\": No such file or directory");
}

static void user_and_password_come_from_the_address_or_the_file(void **state) {
    (void)state;
    mffa_err err = {0};
    char url[192], path[160];
    mffa_test_ask(&redis, "ACL SETUSER reader on >p@ss ~* +@all");
    snprintf(path, sizeof path, "%s/password", redis.dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("p@ss\nsecond line\n", f);
    fclose(f);
    const struct { const char *login, *file, *answer; mffa_code code; } cases[] = {
        {"reader:p%40ss", NULL, "reader", MFFA_OK},
        {"reader", path, "reader", MFFA_OK},
        {"reader:wrong", NULL, "user name or password is wrong", MFFA_EDENIED},
    };
    for (size_t i = 0; i < MFFA_COUNT(cases); i++) {
        MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
        MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
        snprintf(url, sizeof url, "unix://%s@%s?db=3", cases[i].login, redis.socket);
        assert_ok(mffa_queue_open(&(mffa_queue_options){.url = url, .password_file = cases[i].file, .name = "main"}, &q, &err));
        const mffa_span words[] = {mffa_span_of("ACL"), mffa_span_of("WHOAMI")};
        assert_int_equal(mffa_queue_command(q, words, 2, &reply, &err), cases[i].code);
        assert_non_null(strstr(cases[i].code ? err.msg : mffa_reply_text(reply, ""), cases[i].answer));
        assert_null(strstr(err.msg, "wrong\"")); /* the password itself */
    }
    mffa_test_ask(&redis, "ACL DELUSER reader");
}

static void a_server_that_could_drop_jobs_is_refused_and_one_without_disk_warned_of(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) char *warning = NULL;
    assert_ok(mffa_queue_check_server(redis.queue, &warning, &err));
    assert_string_equal(warning, "Redis keeps nothing on disk: a restart loses every job; CONFIG SET appendonly yes");
    mffa_test_ask(&redis, "CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru");
    char *none = NULL;
    assert_int_equal(mffa_queue_check_server(redis.queue, &none, &err), MFFA_EINVAL);
    assert_string_equal(
        err.msg, "Redis may evict keys (maxmemory-policy \"allkeys-lru\") and jobs would vanish: CONFIG SET maxmemory-policy noeviction");
    mffa_test_ask(&redis, "CONFIG SET maxmemory 0 maxmemory-policy noeviction");
}

static void a_clock_that_differs_is_warned_of(void **state) {
    (void)state;
    mffa_test_redis slow;
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) char *warning = NULL;
    mffa_test_redis_start_at(&slow, true, mffa_wall_ms() - 7200000);
    assert_ok(mffa_queue_check_server(slow.queue, &warning, &err));
    assert_non_null(warning);
    assert_non_null(strstr(warning, "this machine's clock is 720"));
    assert_non_null(strstr(warning, " s ahead of Redis': jobs do not mind, dates in logs and results and S3's signatures do; set it"));
    mffa_test_redis_stop(&slow);
}

static void a_job_goes_through_the_client(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease lease = {0};
    bool got = true;
    assert_ok(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err));
    assert_false(got);
    const char *id = mffa_test_fcall(&redis, "submit fit " D " seed 5");
    assert_ok(mffa_queue_wait(redis.queue, "default", 5000, &err)); /* at once: there is a wake */
    assert_ok(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err));
    assert_true(got);
    assert_string_equal(lease.job, id);
    assert_string_equal(lease.nonce, N1);
    assert_int_equal(lease.run, 1);
    assert_int_equal(lease.lease_ms, 30000);
    assert_string_equal(mffa_lease_field(&lease, "seed", "?"), "5");
    assert_string_equal(mffa_lease_field(&lease, "profile", "?"), "small");
    assert_string_equal(mffa_lease_field(&lease, "model", "none"), "none");
    mffa_verdict verdict = MFFA_STOP_DRAIN;
    assert_ok(mffa_queue_beat(redis.queue, &lease, &(mffa_beat){.phase = "", .eta_s = -1}, &verdict, &err));
    assert_int_equal(verdict, MFFA_GO_ON);
    const mffa_beat told = {.phase = "bank", .done = 7, .total = 9, .rate = 12345678.9, .eta_s = -1, .inputs = "4f2a"};
    assert_ok(mffa_queue_beat(redis.queue, &lease, &told, &verdict, &err));
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s phase done total rate eta_s inputs", id),
                        "bank 7 9 1.23457e+07 (nil) 4f2a");
    mffa_test_fcall(&redis, "cancel %s", id);
    assert_ok(
        mffa_queue_beat(redis.queue, &lease, &(mffa_beat){.phase = "bank", .done = 8, .total = 9, .rate = 1, .eta_s = 1}, &verdict, &err));
    assert_int_equal(verdict, MFFA_STOP_CANCELLED);
    const mffa_span facts[] = {mffa_span_of("summary"), {"\0\1\2", 3}};
    assert_ok(mffa_queue_finish(redis.queue, &lease, "s3://plant/out/x", facts, 2, &err));
    assert_ok(mffa_queue_finish(redis.queue, &lease, "s3://plant/out/x", facts, 2, &err));
    assert_string_equal(mffa_test_ask(&redis, "HSTRLEN mffa:{main}:job:%s summary", id), "3");
    assert_int_equal(mffa_queue_fail(redis.queue, &lease, "late", true, &err), MFFA_EFENCED);
    assert_int_equal(mffa_queue_release(redis.queue, &lease, "preempted", &err), MFFA_EFENCED);
    mffa_lease_done(&lease);
}

static void a_failure_and_a_hand_back_go_through_the_client(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease lease = {0};
    bool got = false;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    assert_ok(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err));
    assert_ok(mffa_queue_release(redis.queue, &lease, "preempted", &err));
    mffa_lease_done(&lease);
    assert_ok(mffa_queue_claim(redis.queue, &worker, "22222222222222222222222222222222", &lease, &got, &err));
    assert_ok(mffa_queue_fail(redis.queue, &lease, "no \"train/good\" in it", false, &err));
    mffa_lease_done(&lease);
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s state run reason", id), "failed 2 no \"train/good\" in it");
}

static void a_drained_worker_is_told_by_its_claim(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease lease = {0};
    bool got = false;
    assert_ok(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err));
    mffa_test_fcall(&redis, "drain w1");
    assert_int_equal(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err), MFFA_ECANCELLED);
    assert_string_equal(err.msg, "worker \"w1\" was drained: it gets no job any more");
}

static void a_lost_library_is_loaded_by_the_call_that_misses_it(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_ask(&redis, "FUNCTION FLUSH");
    assert_non_null(strstr(mffa_test_fcall(&redis, "stats"), "Function not found"));
    const mffa_span args[] = {mffa_span_of(id)};
    assert_ok(mffa_queue_call(redis.queue, true, "status", args, 1, &reply, &err));
    assert_string_equal(mffa_reply_text(mffa_reply_field(reply, "state"), ""), "queued");
}

static void an_older_library_is_replaced_and_a_newer_one_stays(void **state) {
    (void)state;
    static const char *const versions[] = {"0", "9"};
    for (size_t i = 0; i < 2; i++) {
        mffa_err err = {0};
        MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
        char lua[256];
        snprintf(lua, sizeof lua,
                 "#!lua name=mffa\nredis.register_function({function_name='mffa_version', callback=function() return %s end, "
                 "flags={'no-writes'}})",
                 versions[i]);
        const mffa_span words[] = {mffa_span_of("FUNCTION"), mffa_span_of("LOAD"), mffa_span_of("REPLACE"), mffa_span_of(lua)};
        assert_ok(mffa_queue_command(redis.queue, words, 4, &reply, &err));
        assert_ok(mffa_queue_load_library(redis.queue, &err));
        assert_string_equal(mffa_test_fcall(&redis, "version"), i == 0 ? "3" : "9");
    }
    mffa_test_ask(&redis, "FUNCTION FLUSH");
    mffa_err err = {0};
    assert_ok(mffa_queue_load_library(redis.queue, &err));
}

static void a_user_who_may_not_load_the_library_is_told_who_can(void **state) {
    (void)state;
    mffa_err err = {0};
    char url[192];
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    mffa_test_ask(&redis, "ACL SETUSER worker on >w ~* +@all -function");
    mffa_test_ask(&redis, "FUNCTION FLUSH");
    snprintf(url, sizeof url, "unix://worker:w@%s", redis.socket);
    assert_ok(mffa_queue_open(&(mffa_queue_options){.url = url, .name = "main"}, &q, &err));
    assert_int_equal(mffa_queue_load_library(q, &err), MFFA_EDENIED);
    assert_string_equal(err.msg,
                        "Redis lacks the function library and this user may not load it: start mffa-scheduler, or allow FUNCTION LOAD");
    mffa_test_ask(&redis, "ACL DELUSER worker");
    assert_ok(mffa_queue_load_library(redis.queue, &err));
}

static void a_lost_connection_is_an_error_of_one_call_and_the_next_connects_again(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease lease = {0};
    bool got = true;
    assert_ok(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err));
    mffa_test_redis_kill(&redis);
    assert_int_equal(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err), MFFA_EIO);
    assert_int_equal(strncmp(err.msg, "lost Redis at \"", 15), 0);
    assert_int_equal(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err), MFFA_EIO);
    assert_non_null(strstr(err.msg, "Connection refused"));
    mffa_test_redis_restart(&redis); /* empty, without the library */
    assert_ok(mffa_queue_claim(redis.queue, &worker, N1, &lease, &got, &err));
    assert_false(got);
}

static void a_wait_without_a_job_ends_by_itself(void **state) {
    (void)state;
    mffa_err err = {0};
    int64_t from = mffa_now_ms();
    assert_ok(mffa_queue_wait(redis.queue, "default", 120, &err));
    assert_true(mffa_now_ms() - from >= 100);
}

/* ---- workers that sleep ---- */

enum { SLEEPERS = 6, BURSTS = 100, LONG_MS = 60000, PATIENCE_MS = 20000 };
typedef struct sleeper {
    pthread_t thread;
    char id[8];
} sleeper;
static atomic_int burst, released; /* jobs of this burst are held until it is released */
static atomic_bool over;

static void hold(void) {
    int mine = atomic_load(&burst);
    while (atomic_load(&released) < mine && !atomic_load(&over)) mffa_sleep_ms(1);
}

/* Sleeps, much longer than the test waits, when there is nothing. */
static void *sleep_and_work(void *arg) {
    const sleeper *s = arg;
    mffa_err err = {0};
    mffa_queue *q = NULL;
    mffa_code rc = mffa_queue_open(&(mffa_queue_options){.url = redis.url, .name = "main"}, &q, &err);
    while (!rc && !atomic_load(&over)) {
        mffa_lease lease = {0};
        bool got = false;
        char request[33];
        rc = mffa_random_hex(request, 16, &err);
        if (!rc) rc = mffa_queue_claim(q, &(mffa_worker_info){.id = s->id, .pool = "default"}, request, &lease, &got, &err);
        if (!rc && !got) rc = mffa_queue_wait(q, "default", LONG_MS, &err);
        if (!rc && got) hold(), rc = mffa_queue_finish(q, &lease, "s3://plant/out/x", NULL, 0, &err);
        mffa_lease_done(&lease);
    }
    if (rc) fprintf(stderr, "%s: %s\n", s->id, err.msg);
    mffa_queue_close(q);
    return NULL;
}

static bool comes_to(const char *index, int jobs) {
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; mffa_now_ms() < until; mffa_sleep_ms(1))
        if (atoi(mffa_test_ask(&redis, "ZCARD mffa:{main}:%s", index)) == jobs) return true;
    fprintf(stderr, "%s never held %d jobs\n", index, jobs);
    return false;
}

static void no_job_waits_while_a_worker_sleeps(void **state) {
    (void)state;
    sleeper sleepers[SLEEPERS];
    bool right = true;
    for (int i = 0; i < SLEEPERS; i++) {
        snprintf(sleepers[i].id, sizeof sleepers[i].id, "w%d", i);
        assert_int_equal(pthread_create(&sleepers[i].thread, NULL, sleep_and_work, &sleepers[i]), 0);
    }
    for (int b = 1, jobs = 0; b <= BURSTS && right; b++) {
        int n = 1 + b % SLEEPERS;
        atomic_store(&burst, b);
        for (int i = 0; i < n; i++, jobs++) mffa_test_fcall(&redis, "submit fit " D);
        right = comes_to("lease", n); /* each by another worker */
        atomic_store(&released, b);
        right = right && comes_to("done", jobs);
    }
    atomic_store(&over, true);
    for (int i = 0; i < SLEEPERS; i++) mffa_test_ask(&redis, "RPUSH mffa:{main}:wake:default end");
    for (int i = 0; i < SLEEPERS; i++) pthread_join(sleepers[i].thread, NULL);
    assert_true(right);
    mffa_test_check_rules(&redis);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_addresses_are_refused_without_their_password),
        cmocka_unit_test(an_absent_redis_is_named_and_retryable),
        cmocka_unit_test_setup(user_and_password_come_from_the_address_or_the_file, empty),
        cmocka_unit_test_setup(a_server_that_could_drop_jobs_is_refused_and_one_without_disk_warned_of, empty),
        cmocka_unit_test_setup(a_clock_that_differs_is_warned_of, empty),
        cmocka_unit_test_setup(a_job_goes_through_the_client, empty),
        cmocka_unit_test_setup(a_failure_and_a_hand_back_go_through_the_client, empty),
        cmocka_unit_test_setup(a_drained_worker_is_told_by_its_claim, empty),
        cmocka_unit_test_setup(a_lost_library_is_loaded_by_the_call_that_misses_it, empty),
        cmocka_unit_test_setup(an_older_library_is_replaced_and_a_newer_one_stays, empty),
        cmocka_unit_test_setup(a_user_who_may_not_load_the_library_is_told_who_can, empty),
        cmocka_unit_test_setup(a_lost_connection_is_an_error_of_one_call_and_the_next_connects_again, empty),
        cmocka_unit_test_setup(a_wait_without_a_job_ends_by_itself, empty),
        cmocka_unit_test_setup(no_job_waits_while_a_worker_sleeps, empty),
    };
    return cmocka_run_group_tests_name("client", tests, start, stop);
}

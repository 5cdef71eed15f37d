/* The thread that fetches for the next job: what it fetches, and that calls at any moment agree with it (the thread sanitizer looks on). */
#include "worker/prefetch.h"

#include "core/base/clock.h"
#include "storage/s3_client.h"
#include "storage/store.h"
#include "tests/support/http_script.h"
#include "tests/support/redis_group.h"

static char cache[] = "/tmp/mffa-prefetch-XXXXXX";
static mffa_config config;

static void set_up(const mffa_step *steps, size_t count) {
    mffa_err err = {0};
    setenv("MFFA_S3_ENDPOINT", mffa_script_start(steps, count), 1);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
    mffa_config_done(&config);
    assert_ok(mffa_config_load_env(&config, MFFA_WORKER, &err));
    assert_ok(mffa_store_setup(&config, cache, &err));
}

#define LIST(contents) "<ListBucketResult>" contents "<IsTruncated>false</IsTruncated></ListBucketResult>"
#define PICTURE "<Contents><Key>d/train/good/1.png</Key><Size>5</Size><ETag>&quot;v1&quot;</ETag></Contents>"

static bool is_cached(void) { return mffa_cache_has(mffa_s3_shared()->cache, "plant", "d/train/good/1.png", "v1"); }

static void the_pictures_of_the_next_job_are_in_the_cache(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_prefetch *p = NULL;
    mffa_store *s = NULL;
    const mffa_step steps[] = {{.status = "200 OK", .body = LIST(PICTURE)},
                               {.status = "200 OK", .headers = "ETag: \"v1\"\r\n", .body = "hello"}};
    set_up(steps, MFFA_COUNT(steps));
    mffa_test_fcall(&redis, "submit fit dataset s3://plant/d output s3://plant/out");
    assert_ok(mffa_prefetch_open(&config, &p, &err));
    for (int i = 0; i < 3; i++) mffa_prefetch_look(p, redis.queue); /* the same job is fetched for once */
    for (int i = 0; i < 6000 && !is_cached(); i++) mffa_sleep_ms(10);
    mffa_prefetch_close(p);
    assert_true(is_cached());
    assert_non_null(strstr(mffa_script_request(0), "prefix=d%2Ftrain%2F"));
    assert_ok(mffa_store_open("s3://plant/d", &s, &err));
    const mffa_object picture = {"train/good/1.png", 5, "v1"};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_store_expect(s, &picture, 1, &err));
    assert_ok(mffa_store_get(s, picture.key, 100, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "hello");
    assert_int_equal(mffa_script_requests(), 2); /* nothing more was asked */
    mffa_store_close(s);
    mffa_script_stop();
}

static bool was_asked_for(const char *text) {
    for (int i = 0, n = mffa_script_requests(); i < n; i++)
        if (strstr(mffa_script_request(i), text)) return true;
    return false;
}

static void the_newest_look_counts_whatever_went_on(void **state) {
    (void)state;
    enum { JOBS = 10 };
    mffa_err err = {0};
    mffa_prefetch *p = NULL;
    mffa_step steps[JOBS];
    for (int i = 0; i < JOBS; i++) steps[i] = (mffa_step){.status = "200 OK", .body = LIST("")};
    set_up(steps, JOBS);
    assert_ok(mffa_prefetch_open(&config, &p, &err));
    for (int i = 0; i < JOBS; i++) { /* each is in front of those before it */
        mffa_test_fcall(&redis, "submit fit dataset s3://plant/d%d output s3://plant/out prio %d", i, i);
        mffa_prefetch_look(p, redis.queue);
        if (i % 3 == 1) mffa_prefetch_rest(p); /* the last one is not */
    }
    for (int i = 0; i < 6000 && !was_asked_for("prefix=d9%2Ftrain%2F"); i++) mffa_sleep_ms(10);
    assert_true(was_asked_for("prefix=d9%2Ftrain%2F"));
    mffa_prefetch_close(p);
    mffa_script_stop();
}

static int leave(void **state) {
    char command[96];
    mffa_store_teardown();
    mffa_config_done(&config);
    snprintf(command, sizeof command, "rm -rf '%s'", cache);
    return stop(state) | system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_pictures_of_the_next_job_are_in_the_cache, empty),
        cmocka_unit_test_setup(the_newest_look_counts_whatever_went_on, empty),
    };
    return mkdtemp(cache) ? cmocka_run_group_tests(tests, start, leave) : 1;
}

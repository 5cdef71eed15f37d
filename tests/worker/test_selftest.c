/* mffactl selftest against a real service: what helm test runs. */
#include "tests/support/test.h"
#include "tests/worker/world.h"

static world w;

/* Runs it with these words; asserts the exit code and what it says, as a regular expression. */
static void selftest(int code, const char *words, const char *says) {
    world_shell("MFFA_REDIS_URL=%s TMPDIR=%s %s selftest %s >%s/said 2>&1; test $? = %d || { cat %s/said; exit 1; }", w.redis.url, w.dir,
                MFFA_TEST_CTL, words, w.dir, code, w.dir);
    world_shell("grep -Eq '%s' %s/said || { cat %s/said; exit 1; }", says, w.dir, w.dir);
    world_shell("test -z \"$(ls -d %s/mffa-selftest-* 2>/dev/null)\"", w.dir); /* it leaves nothing on this machine */
}

static void it_runs_the_sample_through_the_service_and_cleans_up(void **state) {
    (void)state;
    char words[256];
    snprintf(words, sizeof words, "file://%s/self prio 9", w.dir);
    selftest(0, words, "^selftest passed: image_auroc=(0\\.9|1\\.0)[0-9]* in [0-9.]+ s$");
    world_shell("test -z \"$(find %s/self -type f)\"", w.dir);
}

static void it_says_why_it_failed(void **state) {
    (void)state;
    char words[256];
    selftest(1, "", "selftest needs a URL that workers may use");
    snprintf(words, sizeof words, "file:///var/tmp/mffa-selftest-test-%d", (int)getpid()); /* not among the worker's allowed URLs */
    selftest(1, words, "MFFA_ALLOWED_URLS");
    world_shell("test -z \"$(find %s -type f)\" && rm -rf %s", words + strlen("file://"), words + strlen("file://"));
    snprintf(words, sizeof words, "file://%s/self prio 12", w.dir);
    selftest(1, words, "BADFIELD prio .12. does not fit");
}

static int start(void **state) {
    (void)state;
    world_open(&w, 2, 64);
    world_worker(&w, NULL);
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_close(&w);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_runs_the_sample_through_the_service_and_cleans_up),
        cmocka_unit_test(it_says_why_it_failed),
    };
    return cmocka_run_group_tests_name("selftest", tests, start, stop);
}

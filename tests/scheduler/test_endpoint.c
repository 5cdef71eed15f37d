#include "scheduler/endpoint.h"

#include "core/base/clock.h"
#include "core/base/stats.h"
#include "scheduler/health.h"
#include "tests/support/http.h"
#include "tests/support/test.h"

static mffa_endpoint *endpoint;
static int port, gathered;
static mffa_buf page;

static void gather(void *ctx) { ++*(int *)ctx; }

/* Opens on a port that is free now. */
static int open_it(void **state) {
    (void)state;
    mffa_err err = {0};
    for (port = 20000 + getpid() % 20000; port < 65000; port++) {
        char listen[32];
        snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
        if (mffa_endpoint_open(listen, MFFA_SCHEDULER, gather, &gathered, &endpoint, &err) == MFFA_OK) return 0;
    }
    return 1;
}

static int close_it(void **state) {
    (void)state;
    mffa_endpoint_close(MFFA_TAKE(endpoint));
    mffa_buf_done(&page);
    return 0;
}

static bool body_is(const char *text) {
    const char *body = strstr(mffa_buf_text(&page), "\r\n\r\n");
    return body && strcmp(body + 4, text) == 0;
}

static void metrics_are_gathered_and_written_in_the_text_format(void **state) {
    (void)state;
    mffa_stat_add(MFFA_STAT_REAP_MOVED, "lost", NULL, 3);
    assert_int_equal(mffa_test_http(port, "GET", "/metrics", &page), 200);
    assert_int_equal(gathered, 1);
    assert_non_null(strstr(page.ptr, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_true(mffa_test_sample(&page, "mffa_reap_moved_total{what=\"lost\"}") == 3);
    assert_true(mffa_test_sample(&page, "mffa_build_info{program=\"mffa-scheduler\",version=\"" MFFA_VERSION "\"}") == 1);
    mffa_test_promtool(&page);
}

static void health_says_what_it_was_told(void **state) {
    (void)state;
    assert_int_equal(mffa_test_http(port, "GET", "/healthz", &page), 200);
    assert_int_equal(mffa_test_http(port, "GET", "/readyz", &page), 503);
    assert_true(body_is("it is starting\n"));
    mffa_health_ready(60000);
    assert_int_equal(mffa_test_http(port, "GET", "/readyz", &page), 200);
    assert_true(body_is("ready\n"));
    mffa_health_not_ready("could not connect to Redis");
    assert_int_equal(mffa_test_http(port, "GET", "/readyz", &page), 503);
    assert_true(body_is("could not connect to Redis\n"));
    assert_int_equal(mffa_test_http(port, "GET", "/healthz", &page), 200);
    mffa_health_ready(0); /* over at once: nothing was heard since */
    assert_int_equal(mffa_test_http(port, "GET", "/readyz", &page), 503);
}

static void nothing_else_is_answered(void **state) {
    (void)state;
    assert_int_equal(mffa_test_http(port, "GET", "/", &page), 404);
    assert_int_equal(mffa_test_http(port, "GET", "/metrics/../etc/passwd", &page), 404);
    assert_int_equal(mffa_test_http(port, "POST", "/metrics", &page), 405);
    assert_int_equal(mffa_test_http(port, "HEAD", "/healthz", &page), 200);
    assert_true(body_is(""));
}

static void a_program_asks_with_an_exit_code(void **state) {
    (void)state;
    char listen[32];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    mffa_health_ready(60000);
    assert_int_equal(mffa_endpoint_ask(listen), 0);
    mffa_health_not_ready("not now");
    assert_int_equal(mffa_endpoint_ask(listen), 1);
    snprintf(listen, sizeof listen, "0.0.0.0:%d", port); /* where a container listens; asked on the loopback */
    mffa_health_ready(60000);
    assert_int_equal(mffa_endpoint_ask(listen), 0);
    assert_int_equal(mffa_endpoint_ask(NULL), 1);
    assert_int_equal(mffa_endpoint_ask("127.0.0.1:1"), 1);
}

static void an_address_that_does_not_fit_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:66000", "127.0.0.1:1x", "::1:9464", "example.org:80"};
    mffa_endpoint *e = NULL;
    for (size_t i = 0; i < MFFA_COUNT(wrong); i++) {
        mffa_err err = {0};
        assert_int_equal(mffa_endpoint_open(wrong[i], MFFA_WORKER, NULL, NULL, &e, &err), MFFA_EINVAL);
        assert_non_null(strstr(err.msg, wrong[i]));
    }
    char taken[32];
    mffa_err err = {0};
    snprintf(taken, sizeof taken, "127.0.0.1:%d", port);
    assert_int_equal(mffa_endpoint_open(taken, MFFA_WORKER, NULL, NULL, &e, &err), MFFA_EIO);
    assert_non_null(strstr(err.msg, "Address already in use"));
    assert_ok(mffa_endpoint_open(NULL, MFFA_WORKER, NULL, NULL, &e, &err));
    assert_null(e);
}

static void every_address_of_the_machine_can_be_listened_on(void **state) {
    (void)state;
    mffa_endpoint *every = NULL;
    mffa_err err = {0};
    assert_ok(mffa_endpoint_open(":0", MFFA_WORKER, NULL, NULL, &every, &err));
    assert_non_null(every);
    mffa_endpoint_close(every);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_gathered_and_written_in_the_text_format),
        cmocka_unit_test(health_says_what_it_was_told),
        cmocka_unit_test(nothing_else_is_answered),
        cmocka_unit_test(a_program_asks_with_an_exit_code),
        cmocka_unit_test(an_address_that_does_not_fit_is_refused),
        cmocka_unit_test(every_address_of_the_machine_can_be_listened_on),
    };
    return cmocka_run_group_tests_name("endpoint", tests, open_it, close_it);
}

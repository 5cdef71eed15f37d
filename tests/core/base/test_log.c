#include "core/base/log.h"

#include <math.h>
#include <pthread.h>
#include "core/base/buf.h"
#include "core/base/json.h"
#include "tests/support/test.h"

static char log_path[] = "/tmp/mffa-log-XXXXXX";
static int real_stderr = -1;

static int redirect(void **state) {
    (void)state;
    strcpy(strrchr(log_path, '-'), "-XXXXXX");
    int fd = mkstemp(log_path);
    if (fd < 0) return 1;
    real_stderr = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    mffa_log_setup("mffa-test", MFFA_INFO);
    return 0;
}

static int restore(void **state) {
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    return unlink(log_path);
}

static void written(mffa_buf *out) {
    mffa_err err = {0};
    assert_ok(mffa_buf_read_file(out, log_path, 1 << 24, &err));
}

static void a_line_is_one_json_object_with_its_facts(void **state) {
    (void)state;
    mffa_log(MFFA_WARN, "job.retry", mffa_str("job", "k4-17"), mffa_int("attempt", -2), mffa_num("rate", 0.25), mffa_str("none", NULL),
             mffa_num("nan", NAN), mffa_str("bad", "a\nb\"\xff"));
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    written(&text);
    assert_int_equal(text.ptr[text.len - 1], '\n');
    assert_ptr_equal(strchr(text.ptr, '\n'), text.ptr + text.len - 1);
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = NULL;
    mffa_err err = {0};
    assert_ok(mffa_json_parse(mffa_buf_span(&text), &j, &err));
    assert_string_equal(mffa_json_text(mffa_json_get(j, "level"), ""), "warn");
    assert_string_equal(mffa_json_text(mffa_json_get(j, "event"), ""), "job.retry");
    assert_string_equal(mffa_json_text(mffa_json_get(j, "program"), ""), "mffa-test");
    assert_string_equal(mffa_json_text(mffa_json_get(j, "job"), ""), "k4-17");
    assert_int_equal(mffa_json_int(mffa_json_get(j, "attempt"), 0), -2);
    assert_true(mffa_json_num(mffa_json_get(j, "rate"), 0) == 0.25);
    assert_true(mffa_json_is_null(mffa_json_get(j, "none")));
    assert_true(mffa_json_is_null(mffa_json_get(j, "nan")));
    assert_string_equal(mffa_json_text(mffa_json_get(j, "bad"), ""), "a\nb\"\xef\xbf\xbd");
    assert_int_equal(strlen(mffa_json_text(mffa_json_get(j, "ts"), "")), 24);
    assert_int_equal(mffa_json_size(j), 10);
}

static void every_line_carries_the_trace_until_it_ends(void **state) {
    (void)state;
    mffa_log_trace("4bf92f3577b34da6a3ce929d0e0e4736");
    mffa_log(MFFA_INFO, "one");
    mffa_log_trace(NULL);
    mffa_log(MFFA_INFO, "two");
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    written(&text);
    assert_non_null(strstr(text.ptr, "\"event\":\"one\",\"program\":\"mffa-test\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}\n"));
    assert_non_null(strstr(text.ptr, "\"event\":\"two\",\"program\":\"mffa-test\"}\n"));
}

static void lines_below_the_level_are_not_written(void **state) {
    (void)state;
    mffa_log(MFFA_DEBUG, "quiet");
    mffa_log_setup("mffa-test", MFFA_ERROR);
    mffa_log(MFFA_WARN, "quiet");
    mffa_log(MFFA_ERROR, "loud");
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    written(&text);
    assert_null(strstr(mffa_buf_text(&text), "quiet"));
    assert_non_null(strstr(mffa_buf_text(&text), "\"event\":\"loud\""));
}

static void *write_lines(void *arg) {
    for (int i = 0; i < 200; i++) mffa_log(MFFA_INFO, "line", mffa_int("i", i), mffa_str("who", arg));
    return NULL;
}

static void lines_of_several_threads_stay_whole(void **state) {
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (char *[]){"a", "b", "c", "d"}[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    written(&text);
    int lines = 0;
    char *rest = text.ptr;
    for (char *line; (line = strsep(&rest, "\n")) && *line; lines++) {
        MFFA_AUTO(mffa_json_close_p) mffa_json *j = NULL;
        mffa_err err = {0};
        assert_ok(mffa_json_parse(mffa_span_of(line), &j, &err));
    }
    assert_int_equal(lines, 800);
}

static void levels_are_known_by_name(void **state) {
    (void)state;
    mffa_level level = MFFA_DEBUG;
    assert_true(mffa_level_parse("warn", &level));
    assert_int_equal(level, MFFA_WARN);
    assert_false(mffa_level_parse("WARN", &level));
    assert_false(mffa_level_parse("", &level));
    assert_int_equal(level, MFFA_WARN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_one_json_object_with_its_facts, redirect, restore),
        cmocka_unit_test_setup_teardown(every_line_carries_the_trace_until_it_ends, redirect, restore),
        cmocka_unit_test_setup_teardown(lines_below_the_level_are_not_written, redirect, restore),
        cmocka_unit_test_setup_teardown(lines_of_several_threads_stay_whole, redirect, restore),
        cmocka_unit_test(levels_are_known_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

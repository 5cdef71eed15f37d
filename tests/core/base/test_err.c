#include "core/base/err.h"

#include "tests/support/test.h"

static void a_failure_carries_code_and_text(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_int_equal(mffa_fail(&err, MFFA_ENOTFOUND, "no \"%s\" among %d", "x", 3), MFFA_ENOTFOUND);
    assert_int_equal(err.code, MFFA_ENOTFOUND);
    assert_string_equal(err.msg, "no \"x\" among 3");
}

static void nobody_needs_to_pass_an_error(void **state) {
    (void)state;
    assert_int_equal(mffa_fail(NULL, MFFA_EIO, "lost %d", 1), MFFA_EIO);
    assert_int_equal(mffa_wrap(NULL, MFFA_EIO, "job"), MFFA_EIO);
}

static void the_context_stands_in_front_of_the_reason(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_code rc = mffa_fail(&err, MFFA_EIO, "connection lost");
    assert_int_equal(mffa_wrap(&err, rc, "job \"%s\"", "k4-17"), MFFA_EIO);
    assert_string_equal(err.msg, "job \"k4-17\": connection lost");
}

static void the_text_may_quote_the_error_itself(void **state) {
    (void)state;
    mffa_err err = {0};
    (void)mffa_fail(&err, MFFA_EIO, "first");
    (void)mffa_fail(&err, MFFA_EIO, "second after %s", err.msg);
    assert_string_equal(err.msg, "second after first");
    (void)mffa_wrap(&err, MFFA_EIO, "<%s>", err.msg);
    assert_string_equal(err.msg, "<second after first>: second after first");
}

static void a_long_text_is_cut_and_says_so(void **state) {
    (void)state;
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mffa_err err = {0};
    (void)mffa_fail(&err, MFFA_EINVAL, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_string_equal(err.msg + sizeof err.msg - 5, "a...");
}

static void a_text_of_exactly_the_size_is_whole(void **state) {
    (void)state;
    char text[sizeof((mffa_err *)NULL)->msg];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mffa_err err = {0};
    (void)mffa_fail(&err, MFFA_EINVAL, "%s", text);
    assert_string_equal(err.msg, text);
}

static void a_long_context_gives_way_to_the_reason(void **state) {
    (void)state;
    char context[2000];
    memset(context, 'c', sizeof context - 1);
    context[sizeof context - 1] = '\0';
    mffa_err err = {0};
    (void)mffa_fail(&err, MFFA_EINVAL, "the reason");
    (void)mffa_wrap(&err, MFFA_EINVAL, "%s", context);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    const char *end = "ccc...: the reason";
    assert_string_equal(err.msg + strlen(err.msg) - strlen(end), end);
}

static void a_reason_that_fills_the_text_stays_whole(void **state) {
    (void)state;
    for (size_t short_by = 0; short_by < 20; short_by++) {
        char reason[sizeof((mffa_err *)NULL)->msg];
        memset(reason, 'r', sizeof reason - 1 - short_by);
        reason[sizeof reason - 1 - short_by] = '\0';
        mffa_err err = {0};
        (void)mffa_fail(&err, MFFA_EINVAL, "%s", reason);
        (void)mffa_wrap(&err, MFFA_EINVAL, "a context of some length");
        assert_true(strlen(err.msg) < sizeof err.msg);
        assert_string_equal(err.msg + strlen(err.msg) - strlen(reason), reason);
    }
}

static void control_bytes_do_not_reach_a_terminal(void **state) {
    (void)state;
    mffa_err err = {0};
    (void)mffa_fail(&err, MFFA_EINVAL, "unknown \"%s\"", "a\nb\x1b[2J\x7f");
    assert_string_equal(err.msg, "unknown \"a?b?[2J?\"");
    (void)mffa_wrap(&err, MFFA_EINVAL, "in \"%s\"", "x\ty");
    assert_string_equal(err.msg, "in \"x?y\": unknown \"a?b?[2J?\"");
}

static void every_code_has_name_text_and_a_rule_for_retries(void **state) {
    (void)state;
    assert_string_equal(mffa_code_name(MFFA_OK), "OK");
    assert_string_equal(mffa_code_name(MFFA_EBUG), "EBUG");
    assert_string_equal(mffa_code_text(MFFA_ENOTFOUND), "not found");
    assert_true(mffa_code_retryable(MFFA_EIO) && mffa_code_retryable(MFFA_ENOSPC) && mffa_code_retryable(MFFA_ENOMEM));
    assert_false(mffa_code_retryable(MFFA_EINVAL) || mffa_code_retryable(MFFA_EFENCED) || mffa_code_retryable(MFFA_OK));
    assert_string_equal(mffa_code_name((mffa_code)99), "?");
    assert_string_equal(mffa_code_text((mffa_code)99), "?");
    assert_false(mffa_code_retryable((mffa_code)99));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_carries_code_and_text),
        cmocka_unit_test(nobody_needs_to_pass_an_error),
        cmocka_unit_test(the_context_stands_in_front_of_the_reason),
        cmocka_unit_test(the_text_may_quote_the_error_itself),
        cmocka_unit_test(a_long_text_is_cut_and_says_so),
        cmocka_unit_test(a_text_of_exactly_the_size_is_whole),
        cmocka_unit_test(a_long_context_gives_way_to_the_reason),
        cmocka_unit_test(a_reason_that_fills_the_text_stays_whole),
        cmocka_unit_test(control_bytes_do_not_reach_a_terminal),
        cmocka_unit_test(every_code_has_name_text_and_a_rule_for_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

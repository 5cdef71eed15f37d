#include "core/base/json.h"

#include <math.h>
#include "tests/support/test.h"

static mffa_json *parsed(const char *text) {
    mffa_json *j = NULL;
    mffa_err err = {0};
    assert_ok(mffa_json_parse(mffa_span_of(text), &j, &err));
    return j;
}

static void members_are_found_by_name_and_type(void **state) {
    (void)state;
    MFFA_AUTO(mffa_json_close_p)
    mffa_json *j = parsed("{\"t\":\"x\",\"i\":9007199254740993,\"n\":2.5,\"b\":true,\"z\":null,\"a\":[1,2,3]}");
    assert_true(mffa_json_is_object(j));
    assert_string_equal(mffa_json_text(mffa_json_get(j, "t"), "?"), "x");
    assert_true(mffa_json_int(mffa_json_get(j, "i"), 0) == INT64_C(9007199254740993));
    assert_true(mffa_json_num(mffa_json_get(j, "n"), 0) == 2.5);
    assert_true(mffa_json_bool(mffa_json_get(j, "b"), false));
    assert_true(mffa_json_is_null(mffa_json_get(j, "z")));
    assert_true(mffa_json_is_array(mffa_json_get(j, "a")));
    assert_int_equal(mffa_json_size(mffa_json_get(j, "a")), 3);
    assert_int_equal(mffa_json_int(mffa_json_at(mffa_json_get(j, "a"), 2), 0), 3);
    assert_int_equal(mffa_json_size(j), 6);
}

static void what_is_absent_or_of_another_type_gives_the_default(void **state) {
    (void)state;
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = parsed("{\"t\":\"x\",\"n\":2.5}");
    assert_null(mffa_json_get(j, "none"));
    assert_null(mffa_json_get(NULL, "none"));
    assert_null(mffa_json_get(mffa_json_get(j, "t"), "none"));
    assert_null(mffa_json_at(j, 0));
    assert_int_equal(mffa_json_size(NULL), 0);
    assert_int_equal(mffa_json_size(mffa_json_get(j, "t")), 0);
    assert_int_equal(mffa_json_int(mffa_json_get(j, "n"), -7), -7); /* 2.5 is not an integer */
    assert_int_equal(mffa_json_int(mffa_json_get(j, "t"), -7), -7);
    assert_true(mffa_json_num(NULL, 1.5) == 1.5);
    assert_null(mffa_json_text(mffa_json_get(j, "n"), NULL));
    assert_false(mffa_json_is_null(NULL));
    assert_true(mffa_json_bool(mffa_json_get(j, "t"), true));
}

static void bad_text_is_refused_with_its_place(void **state) {
    (void)state;
    static const char *const bad[] = {"",        "{",           "{\"a\":1,}",  "{\"a\":1} x", "{\"a\":1,\"a\":2}", "[1e999]", "nul",
                                      "\"\\u0000\"", "\"\xff\"", "\"\xc0\x80\"", "\"a\nb\"",    "[NaN]",           "'a'"};
    for (size_t i = 0; i < MFFA_COUNT(bad); i++) {
        mffa_json *j = NULL;
        mffa_err err = {0};
        assert_int_equal(mffa_json_parse(mffa_span_of(bad[i]), &j, &err), MFFA_EINVAL);
        assert_null(j);
        assert_non_null(strstr(err.msg, "not valid JSON at line 1, column "));
    }
}

static void deep_nesting_is_refused_before_the_stack_ends(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    for (int i = 0; i < 100000; i++) mffa_buf_puts(&text, "[");
    mffa_json *j = NULL;
    mffa_err err = {0};
    assert_int_equal(mffa_json_parse(mffa_buf_span(&text), &j, &err), MFFA_EINVAL);
}

static mffa_code collect(void *ctx, const char *name, const mffa_json *value, mffa_err *err) {
    if (strcmp(name, "stop") == 0) return mffa_fail(err, MFFA_ECANCELLED, "enough");
    mffa_buf_putf(ctx, "%s=%lld;", name, (long long)mffa_json_int(value, 0));
    return MFFA_OK;
}

static void members_come_in_the_order_of_the_text(void **state) {
    (void)state;
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = parsed("{\"z\":1,\"a\":2,\"m\":3}");
    MFFA_AUTO(mffa_buf_done) mffa_buf seen = {0};
    mffa_err err = {0};
    assert_ok(mffa_json_each(j, collect, &seen, &err));
    assert_string_equal(mffa_buf_text(&seen), "z=1;a=2;m=3;");
}

static void a_callback_ends_the_walk(void **state) {
    (void)state;
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = parsed("{\"z\":1,\"stop\":2,\"m\":3}");
    MFFA_AUTO(mffa_buf_done) mffa_buf seen = {0};
    mffa_err err = {0};
    assert_int_equal(mffa_json_each(j, collect, &seen, &err), MFFA_ECANCELLED);
    assert_string_equal(mffa_buf_text(&seen), "z=1;");
}

static void a_document_is_written_as_it_was_built(void **state) {
    (void)state;
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = mffa_json_object();
    mffa_json *list = mffa_json_array();
    mffa_json_push(list, mffa_json_of_num(0.5));
    mffa_json_push(list, mffa_json_of_num(NAN));
    mffa_json_push(list, mffa_json_of_num(INFINITY));
    mffa_json_push(list, mffa_json_of_bool(false));
    mffa_json_push(list, mffa_json_of_text(NULL));
    mffa_json_set(j, "b", mffa_json_of_int(INT64_MIN));
    mffa_json_set(j, "a", list);
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_err err = {0};
    assert_ok(mffa_json_write(j, 0, &text, &err));
    assert_string_equal(mffa_buf_text(&text), "{\"b\":-9223372036854775808,\"a\":[0.5,null,null,false,null]}");
    mffa_buf_clear(&text);
    assert_ok(mffa_json_write(mffa_json_at(mffa_json_get(j, "a"), 0), 2, &text, &err));
    assert_string_equal(mffa_buf_text(&text), "0.5");
}

static void numbers_survive_writing_and_reading(void **state) {
    (void)state;
    static const double values[] = {0.1, 1.0 / 3.0, 0.98765432109876543, 5e-324, 1.7976931348623157e308, -0.0, 123456789.125};
    for (size_t i = 0; i < MFFA_COUNT(values); i++) {
        MFFA_AUTO(mffa_json_close_p) mffa_json *j = mffa_json_of_num(values[i]);
        MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
        mffa_err err = {0};
        assert_ok(mffa_json_write(j, 0, &text, &err));
        MFFA_AUTO(mffa_json_close_p) mffa_json *again = parsed(mffa_buf_text(&text));
        double back = mffa_json_num(again, 42);
        assert_memory_equal(&back, &values[i], sizeof back);
    }
}

static void names_that_are_not_utf8_are_kept_readable(void **state) {
    (void)state;
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = mffa_json_object();
    mffa_json_set(j, "f\xfcr", mffa_json_of_text("na\xefve \xed\xa0\x80 \xf5 \xe2\x82\xac \xe2\x82"));
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_err err = {0};
    assert_ok(mffa_json_write(j, 0, &text, &err));
#define BAD "\xef\xbf\xbd"
    assert_string_equal(mffa_buf_text(&text), "{\"f" BAD "r\":\"na" BAD "ve " BAD BAD BAD " " BAD " \xe2\x82\xac " BAD BAD "\"}");
}

static void quoting_escapes_what_json_and_terminals_take_amiss(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf out = {0};
    mffa_json_quote(&out, "a\"\\\n\x01\x7f\0\xff\xe2\x82\xac", 11);
    assert_string_equal(mffa_buf_text(&out), "\"a\\\"\\\\\\n\\u0001\\u007f\\u0000\\ufffd\xe2\x82\xac\"");
    mffa_buf_clear(&out);
    mffa_json_quote(&out, NULL, 0);
    assert_string_equal(mffa_buf_text(&out), "\"\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_by_name_and_type),
        cmocka_unit_test(what_is_absent_or_of_another_type_gives_the_default),
        cmocka_unit_test(bad_text_is_refused_with_its_place),
        cmocka_unit_test(deep_nesting_is_refused_before_the_stack_ends),
        cmocka_unit_test(members_come_in_the_order_of_the_text),
        cmocka_unit_test(a_callback_ends_the_walk),
        cmocka_unit_test(a_document_is_written_as_it_was_built),
        cmocka_unit_test(numbers_survive_writing_and_reading),
        cmocka_unit_test(names_that_are_not_utf8_are_kept_readable),
        cmocka_unit_test(quoting_escapes_what_json_and_terminals_take_amiss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

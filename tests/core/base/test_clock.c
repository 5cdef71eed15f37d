#include "core/base/clock.h"

#include "tests/support/test.h"

static void check_text(int64_t wall_ms, const char *expected) {
    char text[25];
    mffa_wall_text(wall_ms, text);
    assert_string_equal(text, expected);
}

static void calendar_times_are_written_in_utc(void **state) {
    (void)state;
    setenv("TZ", "Asia/Tokyo", 1);
    check_text(0, "1970-01-01T00:00:00.000Z");
    check_text(INT64_C(1769860800123), "2026-01-31T12:00:00.123Z");
    check_text(INT64_C(951782399999), "2000-02-28T23:59:59.999Z");
    check_text(INT64_C(951868799001), "2000-02-29T23:59:59.001Z");
    check_text(INT64_C(253402300799999), "9999-12-31T23:59:59.999Z");
    unsetenv("TZ");
}

static void times_before_1970_are_written_too(void **state) {
    (void)state;
    check_text(-1, "1969-12-31T23:59:59.999Z");
    check_text(-1000, "1969-12-31T23:59:59.000Z");
    check_text(-86400001, "1969-12-30T23:59:59.999Z");
}

static void a_sleep_is_never_shorter_than_asked(void **state) {
    (void)state;
    int64_t before = mffa_now_ms();
    mffa_sleep_ms(30);
    assert_true(mffa_now_ms() - before >= 29); /* both ends are cut to whole milliseconds */
    mffa_sleep_ms(0);
    mffa_sleep_ms(-5); /* in the past already */
}

static void the_wall_clock_counts_from_1970(void **state) {
    (void)state;
    assert_true(mffa_wall_ms() > INT64_C(1700000000000)); /* 2023 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar_times_are_written_in_utc),
        cmocka_unit_test(times_before_1970_are_written_too),
        cmocka_unit_test(a_sleep_is_never_shorter_than_asked),
        cmocka_unit_test(the_wall_clock_counts_from_1970),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "storage/retry.h"

#include "tests/support/test.h"

static void what_is_tried_again_and_what_is_not(void **state) {
    (void)state;
    const struct { int status; const char *code; mffa_retry class; } rows[] = {
        {0, "", MFFA_RETRY_SOON},
        {500, "InternalError", MFFA_RETRY_SOON},
        {502, "", MFFA_RETRY_SOON},
        {504, "", MFFA_RETRY_SOON},
        {400, "RequestTimeout", MFFA_RETRY_SOON},
        {200, "InternalError", MFFA_RETRY_SOON}, /* an error in the clothes of a success */
        {409, "ConditionalRequestConflict", MFFA_RETRY_SOON},
        {409, "OperationAborted", MFFA_RETRY_SOON},
        {503, "SlowDown", MFFA_RETRY_LATER},
        {503, "", MFFA_RETRY_LATER},
        {429, "", MFFA_RETRY_LATER},
        {403, "RequestTimeTooSkewed", MFFA_RETRY_CLOCK},
        {400, "ExpiredToken", MFFA_RETRY_CREDENTIALS},
        {403, "AccessDenied", MFFA_RETRY_NEVER},
        {403, "SignatureDoesNotMatch", MFFA_RETRY_NEVER},
        {403, "InvalidAccessKeyId", MFFA_RETRY_NEVER},
        {404, "NoSuchKey", MFFA_RETRY_NEVER},
        {412, "PreconditionFailed", MFFA_RETRY_NEVER},
        {409, "BucketAlreadyExists", MFFA_RETRY_NEVER},
        {501, "NotImplemented", MFFA_RETRY_NEVER},
        {307, "TemporaryRedirect", MFFA_RETRY_NEVER},
    };
    for (size_t i = 0; i < MFFA_COUNT(rows); i++) assert_int_equal(mffa_retry_class(rows[i].status, rows[i].code), rows[i].class);
}

static void the_delay_is_drawn_below_a_limit_that_doubles(void **state) {
    (void)state;
    assert_int_equal(mffa_retry_delay_ms(MFFA_RETRY_SOON, 1, 0, 0.0), 0);
    assert_int_equal(mffa_retry_delay_ms(MFFA_RETRY_SOON, 1, 0, 0.5), 100);
    assert_int_equal(mffa_retry_delay_ms(MFFA_RETRY_SOON, 4, 0, 0.5), 800);
    assert_int_equal(mffa_retry_delay_ms(MFFA_RETRY_LATER, 2, 0, 0.5), 1000);
    assert_int_equal(mffa_retry_delay_ms(MFFA_RETRY_LATER, 100, 0, 0.5), 10000);
    assert_int_equal(mffa_retry_delay_ms(MFFA_RETRY_SOON, 1, 3000, 0.5), 3100);
    assert_int_equal(mffa_retry_delay_ms(MFFA_RETRY_CLOCK, 1, 3000, 0.5), 0);
}

static void retry_after_is_read_as_seconds_and_bounded(void **state) {
    (void)state;
    assert_int_equal(mffa_retry_after_ms("2"), 2000);
    assert_int_equal(mffa_retry_after_ms("99999999999999999999"), 0);
    assert_int_equal(mffa_retry_after_ms("3600"), 60000);
    assert_int_equal(mffa_retry_after_ms("-1"), 0);
    assert_int_equal(mffa_retry_after_ms("Fri, 24 May 2013 00:00:00 GMT"), 0);
    assert_int_equal(mffa_retry_after_ms(""), 0);
}

static void the_budget_ends_a_storm_and_success_fills_it_again(void **state) {
    (void)state;
    mffa_retry_budget b = MFFA_RETRY_BUDGET;
    int taken = 0;
    while (mffa_retry_take(&b)) taken++;
    assert_int_equal(taken, MFFA_RETRY_TOKENS / MFFA_RETRY_COST);
    for (int i = 0; i < MFFA_RETRY_COST - 1; i++) mffa_retry_give(&b, false);
    assert_false(mffa_retry_take(&b));
    mffa_retry_give(&b, false);
    assert_true(mffa_retry_take(&b));
    mffa_retry_give(&b, true);
    assert_true(mffa_retry_take(&b));
    for (int i = 0; i < 2 * MFFA_RETRY_TOKENS; i++) mffa_retry_give(&b, true);
    for (taken = 0; mffa_retry_take(&b);) taken++;
    assert_int_equal(taken, MFFA_RETRY_TOKENS / MFFA_RETRY_COST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_tried_again_and_what_is_not),
        cmocka_unit_test(the_delay_is_drawn_below_a_limit_that_doubles),
        cmocka_unit_test(retry_after_is_read_as_seconds_and_bounded),
        cmocka_unit_test(the_budget_ends_a_storm_and_success_fills_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

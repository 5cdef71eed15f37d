#include "core/mffa/profile.h"

#include <math.h>
#include "tests/support/test.h"

static void the_two_profiles_are_the_design_s_table(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_profile p = {0}, s = {0};
    assert_ok(mffa_profile_named("paper", &p, &err));
    assert_ok(mffa_profile_named("small", &s, &err));
    assert_ok(mffa_profile_check(&p, &err));
    assert_ok(mffa_profile_check(&s, &err));
    assert_int_equal(p.side, 256), assert_int_equal(p.grid, 64), assert_int_equal(p.blocks, 11), assert_int_equal(p.gaussian_channels, 570);
    assert_int_equal(s.side, 256), assert_int_equal(s.grid, 32), assert_int_equal(s.blocks, 11), assert_int_equal(s.gaussian_channels, 142);
    assert_float_equal(p.ratio, 0.01, 0), assert_float_equal(p.lambda, 0.01, 0), assert_float_equal(p.sigma, 4, 0);
    assert_int_equal(mffa_profile_named("large", &p, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "profile \"large\": expected paper or small");
}

static void refuses(mffa_profile p, const char *text) {
    mffa_err err = {0};
    assert_int_equal(mffa_profile_check(&p, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, text);
}

static void every_range_is_checked_and_named(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_profile p;
    assert_ok(mffa_profile_named("small", &p, &err));
#define WITH(field, value, text) do { mffa_profile q = p; q.field = value; refuses(q, text); } while (0)
    WITH(side, 32, "side is 32: expected a multiple of 32 from 64 to 1024");
    WITH(side, 250, "side is 250: expected a multiple of 32 from 64 to 1024");
    WITH(grid, 65, "grid is 65: expected 1 to 64 (side / 4)");
    WITH(blocks, 12, "blocks is 12: expected 0 to 11");
    WITH(gaussian_channels, 0, "gaussian channels is 0: expected at least 1");
    WITH(ratio, 0, "coreset ratio is 0: expected above 0, at most 1");
    WITH(ratio, NAN, "coreset ratio is nan: expected above 0, at most 1");
    WITH(lambda, 0, "lambda is 0: expected above 0");
    WITH(lambda, INFINITY, "lambda is inf: expected above 0");
    WITH(sigma, -1, "blur sigma is -1: expected 0 to 64 pixels");
#undef WITH
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_two_profiles_are_the_design_s_table),
        cmocka_unit_test(every_range_is_checked_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

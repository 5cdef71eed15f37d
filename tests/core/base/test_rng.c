#include "core/base/rng.h"

#include <math.h>
#include "tests/support/test.h"

/* Random123's known-answer file (kat_vectors, lines "philox4x32 10"): counter and key in, four words out. */
static void published_answers_come_out(void **state) {
    (void)state;
    static const struct {
        uint64_t index, stream, key;
        uint32_t word[4];
    } known[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {UINT64_C(0x85a308d3243f6a88),
         UINT64_C(0x0370734413198a2e),
         UINT64_C(0x299f31d0a4093822),
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < MFFA_COUNT(known); i++) {
        mffa_rng r;
        mffa_rng_init(&r, known[i].key, known[i].stream);
        r.index = known[i].index;
        for (int k = 0; k < 4; k++) assert_int_equal(mffa_rng_u32(&r), known[i].word[k]);
    }
}

static void a_copied_generator_goes_on_from_the_same_place(void **state) {
    (void)state;
    mffa_rng r;
    mffa_rng_init(&r, 7, 3);
    for (int i = 0; i < 13; i++) (void)mffa_rng_u32(&r);
    mffa_rng saved = r;
    for (int i = 0; i < 50; i++) assert_int_equal(mffa_rng_u32(&r), mffa_rng_u32(&saved));
}

static void streams_and_seeds_differ(void **state) {
    (void)state;
    mffa_rng a, b, c;
    mffa_rng_init(&a, 1, 0), mffa_rng_init(&b, 1, 1), mffa_rng_init(&c, 2, 0);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t x = mffa_rng_u32(&a), y = mffa_rng_u32(&b), z = mffa_rng_u32(&c);
        same += (x == y) + (x == z) + (y == z);
    }
    assert_true(same <= 1);
}

static void a_unit_is_made_of_two_words_low_first(void **state) {
    (void)state;
    mffa_rng r;
    mffa_rng_init(&r, 0, 0);
    assert_true(mffa_rng_unit(&r) == (double)(UINT64_C(0xe169c58d6627e8d5) >> 11) / 9007199254740992.0);
    mffa_rng_init(&r, 0, 0);
    assert_true(mffa_rng_uniform(&r, -2, 6) == -2 + 8 * ((double)(UINT64_C(0xe169c58d6627e8d5) >> 11) / 9007199254740992.0));
}

static void a_normal_is_box_and_mullers(void **state) {
    (void)state;
    mffa_rng r;
    mffa_rng_init(&r, 0, 0);
    double u1 = (double)(UINT64_C(0xe169c58d6627e8d5) >> 11) / 9007199254740992.0,
           u2 = (double)(UINT64_C(0x9b00dbd8bc57ac4c) >> 11) / 9007199254740992.0;
    assert_true(fabs(mffa_rng_normal(&r) - sqrt(-2 * log(1 - u1)) * cos(2 * acos(-1.0) * u2)) < 1e-14);
}

/* Chi-square of `cells` equally likely cells; 99.99 % of honest generators stay below cells + 4 sqrt(2 cells) + 11. */
static void assert_flat(const int64_t *count, int cells, int64_t draws) {
    double expected = (double)draws / cells, sum = 0;
    for (int i = 0; i < cells; i++) sum += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    if (sum > cells + 4 * sqrt(2.0 * cells) + 11) fail_msg("chi-square %.1f over %d cells", sum, cells);
}

static void draws_below_n_are_flat_and_below_n(void **state) {
    (void)state;
    static const uint64_t ns[] = {1, 2, 3, 7, 100, 257};
    for (size_t k = 0; k < MFFA_COUNT(ns); k++) {
        mffa_rng r;
        mffa_rng_init(&r, 11, k);
        int64_t count[257] = {0};
        for (int i = 0; i < 200000; i++) {
            uint64_t x = mffa_rng_below(&r, ns[k]);
            assert_true(x < ns[k]);
            count[x]++;
        }
        assert_flat(count, (int)ns[k], 200000);
    }
}

static void draws_below_a_large_n_have_no_modulo_bias(void **state) {
    (void)state;
    mffa_rng r;
    mffa_rng_init(&r, 5, 5);
    uint64_t n = UINT64_C(3) << 30; /* u32 % n would hit the first third twice as often */
    int64_t count[3] = {0};
    for (int i = 0; i < 90000; i++) count[mffa_rng_below(&r, n) >> 30]++;
    assert_flat(count, 3, 90000);
    mffa_rng a, b;
    mffa_rng_init(&a, 1, 1), mffa_rng_init(&b, 1, 1);
    for (int i = 0; i < 100; i++) assert_int_equal(mffa_rng_below(&a, UINT64_C(1) << 32), mffa_rng_u32(&b));
}

static void units_are_flat_in_the_half_open_interval(void **state) {
    (void)state;
    mffa_rng r;
    mffa_rng_init(&r, 3, 0);
    int64_t count[64] = {0};
    for (int i = 0; i < 200000; i++) {
        double u = mffa_rng_unit(&r);
        assert_true(u >= 0 && u < 1);
        count[(int)(u * 64)]++;
    }
    assert_flat(count, 64, 200000);
}

static void normals_have_the_right_moments(void **state) {
    (void)state;
    enum { N = 200000 };
    mffa_rng r;
    mffa_rng_init(&r, 2026, 9);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    for (int i = 0; i < N; i++) {
        double x = mffa_rng_normal(&r);
        m1 += x / N, m2 += x * x / N, m3 += x * x * x / N, m4 += x * x * x * x / N;
    }
    /* five standard errors of each moment's estimate: sqrt(var / N), var = 1, 2, 15, 96 */
    assert_true(fabs(m1) < 5 * sqrt(1.0 / N) && fabs(m2 - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(m3) < 5 * sqrt(15.0 / N) && fabs(m4 - 3) < 5 * sqrt(96.0 / N));
}

static void every_order_of_a_shuffle_is_equally_likely(void **state) {
    (void)state;
    mffa_rng r;
    mffa_rng_init(&r, 17, 1);
    int64_t count[64] = {0}, flat[6];
    for (int i = 0; i < 60000; i++) {
        int64_t items[3] = {0, 1, 2};
        mffa_rng_shuffle(&r, items, 3);
        assert_int_equal((1 << items[0]) | (1 << items[1]) | (1 << items[2]), 7);
        count[items[0] * 16 + items[1] * 4 + items[2]]++;
    }
    static const int orders[6] = {0 * 16 + 1 * 4 + 2, 0 * 16 + 2 * 4 + 1, 1 * 16 + 0 * 4 + 2,
                                  1 * 16 + 2 * 4 + 0, 2 * 16 + 0 * 4 + 1, 2 * 16 + 1 * 4 + 0};
    for (int i = 0; i < 6; i++) flat[i] = count[orders[i]];
    assert_flat(flat, 6, 60000);
    mffa_rng_shuffle(&r, NULL, 0);
}

/* The rule of the header, word by word: others recompute our choices from it. */
static void a_shuffle_swaps_from_the_end(void **state) {
    (void)state;
    mffa_rng r, s;
    mffa_rng_init(&r, 99, 4), mffa_rng_init(&s, 99, 4);
    int64_t items[10], expected[10];
    for (int i = 0; i < 10; i++) items[i] = expected[i] = i;
    mffa_rng_shuffle(&r, items, 10);
    for (int i = 9; i >= 1; i--) {
        uint64_t j = mffa_rng_below(&s, (uint64_t)i + 1);
        int64_t t = expected[i];
        expected[i] = expected[j], expected[j] = t;
    }
    assert_memory_equal(items, expected, sizeof items);
}

static void a_choice_is_ascending_and_without_repeats(void **state) {
    (void)state;
    mffa_rng r;
    mffa_err err = {0};
    mffa_rng_init(&r, 1, 2);
    int64_t hits[20] = {0};
    for (int round = 0; round < 20000; round++) {
        int64_t out[5];
        assert_ok(mffa_rng_choose(&r, 20, 5, out, &err));
        for (int i = 0; i < 5; i++) {
            assert_true(out[i] >= 0 && out[i] < 20 && (i == 0 || out[i] > out[i - 1]));
            hits[out[i]]++;
        }
    }
    assert_flat(hits, 20, 100000);
    int64_t all[20];
    assert_ok(mffa_rng_choose(&r, 20, 20, all, &err));
    for (int i = 0; i < 20; i++) assert_int_equal(all[i], i);
    assert_ok(mffa_rng_choose(&r, 20, 0, all, &err));
}

static void an_impossible_choice_is_refused(void **state) {
    (void)state;
    mffa_rng r;
    mffa_err err = {0};
    mffa_rng_init(&r, 1, 2);
    int64_t out[4];
    assert_int_equal(mffa_rng_choose(&r, 3, 4, out, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "cannot choose 4 of 3 without replacement");
    assert_int_equal(mffa_rng_choose(&r, 3, -1, out, &err), MFFA_EINVAL);
    assert_int_equal(mffa_rng_choose(&r, 0, 0, out, &err), MFFA_EINVAL);
}

static void nonces_are_hex_and_differ(void **state) {
    (void)state;
    char a[33], b[33];
    mffa_err err = {0};
    assert_ok(mffa_random_hex(a, 16, &err));
    assert_ok(mffa_random_hex(b, 16, &err));
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_int_equal(strlen(a), 32);
    assert_string_not_equal(a, b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_answers_come_out),
        cmocka_unit_test(a_copied_generator_goes_on_from_the_same_place),
        cmocka_unit_test(streams_and_seeds_differ),
        cmocka_unit_test(a_unit_is_made_of_two_words_low_first),
        cmocka_unit_test(a_normal_is_box_and_mullers),
        cmocka_unit_test(draws_below_n_are_flat_and_below_n),
        cmocka_unit_test(draws_below_a_large_n_have_no_modulo_bias),
        cmocka_unit_test(units_are_flat_in_the_half_open_interval),
        cmocka_unit_test(normals_have_the_right_moments),
        cmocka_unit_test(every_order_of_a_shuffle_is_equally_likely),
        cmocka_unit_test(a_shuffle_swaps_from_the_end),
        cmocka_unit_test(a_choice_is_ascending_and_without_repeats),
        cmocka_unit_test(an_impossible_choice_is_refused),
        cmocka_unit_test(nonces_are_hex_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

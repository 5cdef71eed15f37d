#include "core/mffa/coreset.h"

#include <math.h>
#include "core/base/rng.h"
#include "tests/support/test.h"

enum { W = MFFA_CORESET_WIDTH };

/* The definition, as plainly as it can be written. */
static void naive(const float *rows, int64_t n, int64_t m, int64_t first, int64_t *chosen) {
    double *least = malloc((size_t)n * sizeof *least);
    bool *taken = calloc((size_t)n, sizeof *taken);
    for (int64_t i = 0; i < n; i++) least[i] = INFINITY;
    for (int64_t c = 0; c < m; c++) {
        int64_t next = first;
        if (c) {
            next = -1;
            for (int64_t i = 0; i < n; i++)
                if (!taken[i] && (next < 0 || least[i] > least[next])) next = i;
        }
        chosen[c] = next;
        taken[next] = true;
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int k = 0; k < W; k++) {
                double d = (double)rows[i * W + k] - (double)rows[next * W + k];
                volatile double square = d * d; /* kept apart from the sum on every machine */
                sum += square;
            }
            if (sum < least[i]) least[i] = sum;
        }
    }
    free(least), free(taken);
}

static void agrees(const char *what, const float *rows, int64_t n, int64_t m, int64_t first) {
    mffa_err err = {0};
    int64_t *want = malloc((size_t)m * sizeof *want), *got = malloc((size_t)m * sizeof *got);
    naive(rows, n, m, first, want);
    assert_ok(mffa_coreset_choose(rows, n, m, first, got, NULL, &err));
    for (int64_t i = 0; i < m; i++)
        if (got[i] != want[i])
            fail_msg("%s: centre %lld is row %lld, expected %lld", what, (long long)i, (long long)got[i], (long long)want[i]);
    free(want), free(got);
}

static float *filled(int64_t n, uint64_t seed, double (*value)(mffa_rng *r, int64_t row, int k)) {
    float *rows = malloc((size_t)n * W * sizeof *rows);
    mffa_rng r;
    mffa_rng_init(&r, seed, 0);
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < W; k++) rows[i * W + k] = (float)value(&r, i, k);
    return rows;
}

static double random_value(mffa_rng *r, int64_t row, int k) { return (void)row, (void)k, mffa_rng_normal(r); }
/* a centre for each 37 rows, with a narrow cloud around it */
static double clustered_value(mffa_rng *r, int64_t row, int k) {
    return sin((double)(row / 37 * 131 + k)) * 10 + 0.01 * mffa_rng_normal(r);
}
/* integers: sums of squares are exact and many are equal */
static double lattice_value(mffa_rng *r, int64_t row, int k) { return (void)row, k < 6 ? (double)mffa_rng_below(r, 3) : 0; }
static double constant_value(mffa_rng *r, int64_t row, int k) { return (void)r, (void)row, (double)k; }
/* so near to each other that float32 sums cannot tell their distances apart, double sums can */
static double near_value(mffa_rng *r, int64_t row, int k) { return k == row % W ? 1 + 1e-7 * (double)mffa_rng_below(r, 9) : 0; }
/* differences whose squares underflow in float32 */
static double tiny_value(mffa_rng *r, int64_t row, int k) { return (void)row, (void)k, 1e-25 * mffa_rng_normal(r); }

static void chooses_what_the_definition_chooses(void **state) {
    (void)state;
    static const struct {
        const char *what;
        double (*value)(mffa_rng *r, int64_t row, int k);
    } kinds[] = {{"random", random_value},     {"clustered", clustered_value}, {"lattice", lattice_value},
                 {"constant", constant_value}, {"near ties", near_value},      {"tiny", tiny_value}};
    for (size_t i = 0; i < MFFA_COUNT(kinds); i++) {
        float *rows = filled(700, i + 1, kinds[i].value);
        agrees(kinds[i].what, rows, 700, 150, 333);
        agrees(kinds[i].what, rows, 700, 1, 699);
        agrees(kinds[i].what, rows, 131, 131, 0); /* ratio 1: every row, once */
        agrees(kinds[i].what, rows, 1, 1, 0);
        free(rows);
    }
}

static void chooses_what_the_definition_chooses_among_copies(void **state) {
    (void)state;
    float *rows = filled(600, 9, clustered_value);
    for (int64_t i = 200; i < 600; i++) memcpy(rows + i * W, rows + (i * 7 % 200) * W, W * sizeof *rows);
    agrees("copies", rows, 600, 300, 450);
    free(rows);
}

static void chooses_what_the_definition_chooses_of_many(void **state) {
    (void)state;
    float *rows = filled(2000, 10, random_value);
    for (int64_t i = 0; i < 2000; i++) /* lengths that differ widely, so that bounds stay stale for long */
        for (int k = 0; k < W; k++) rows[i * W + k] *= (float)(1 + i % 97) / 10 * (k < 9 ? 1 : 0.05f);
    agrees("many", rows, 2000, 200, 17);
    free(rows);
}

static void counts_a_share_but_at_least_one(void **state) {
    (void)state;
    assert_int_equal(mffa_coreset_count(778240, 0.01), 7782);
    assert_int_equal(mffa_coreset_count(99, 0.01), 1);
    assert_int_equal(mffa_coreset_count(7, 1), 7);
}

static bool stop_at_three(void *ctx, const char *phase, int64_t done, int64_t total) {
    return (void)ctx, (void)phase, (void)total, done < 3;
}

static void stops_when_told_and_refuses_what_has_no_distance(void **state) {
    (void)state;
    mffa_err err = {0};
    int64_t chosen[10];
    float *rows = filled(20, 1, random_value);
    assert_int_equal(mffa_coreset_choose(rows, 20, 10, 0, chosen, &(mffa_progress){.tick = stop_at_three}, &err), MFFA_ECANCELLED);
    assert_string_equal(err.msg, "stopped in \"coreset\" at 3 of 10");
    assert_int_equal(mffa_coreset_choose(rows, 20, 21, 0, chosen, NULL, &err), MFFA_EINVAL);
    assert_int_equal(mffa_coreset_choose(rows, 20, 10, 20, chosen, NULL, &err), MFFA_EINVAL);
    rows[5 * W + 3] = NAN;
    assert_int_equal(mffa_coreset_choose(rows, 20, 10, 0, chosen, NULL, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "projected patch 5 holds nan: expected finite values to +-1e+17 (are the weights sane?)");
    rows[5 * W + 3] = 2e17f;
    assert_int_equal(mffa_coreset_choose(rows, 20, 10, 0, chosen, NULL, &err), MFFA_EINVAL);
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_what_the_definition_chooses),
        cmocka_unit_test(chooses_what_the_definition_chooses_among_copies),
        cmocka_unit_test(chooses_what_the_definition_chooses_of_many),
        cmocka_unit_test(counts_a_share_but_at_least_one),
        cmocka_unit_test(stops_when_told_and_refuses_what_has_no_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "core/mffa/gaussian_growing.h"

#include <math.h>
#include "core/base/rng.h"
#include "core/mffa/kernels.h"
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

static mffa_device *device;

static int open_device(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *named = getenv("MFFA_TEST_DEVICE"); /* for a GPU, by hand */
    return mffa_device_open(named ? named : "cpu", "fp32", 2, &device, &err);
}

static int close_device(void **state) {
    (void)state;
    mffa_device_close(device);
    return 0;
}

static float *floats(const mffa_safetensors *f, const char *name, int64_t *count) {
    mffa_err err = {0};
    const mffa_st_tensor *t = mffa_safetensors_find(f, name);
    if (!t) fail_msg("golden file lacks \"%s\"", name);
    float *out = malloc((size_t)t->count * sizeof *out);
    assert_ok(mffa_safetensors_floats(t, out, &err));
    if (count) *count = t->count;
    return out;
}

static mffa_gaussian fitted(const float *x, int64_t n, int64_t p, int64_t d, int64_t batch, double lambda, bool keep) {
    mffa_err err = {0};
    mffa_gaussian_sums *s = NULL;
    mffa_gaussian g = {0};
    mffa_rng r;
    mffa_rng_init(&r, 1, 1);
    assert_ok(mffa_gaussian_sums_open(p, d, 2, &s, &err));
    for (int64_t i = 0; i < n; i += batch) assert_ok(mffa_gaussian_sums_add(s, x + i * p * d, n - i < batch ? n - i : batch, &err));
    assert_ok(mffa_gaussian_finish(&s, device, lambda, keep, r, NULL, &g, &err));
    assert_null(s);
    return g;
}

/* numpy in double: mean, covariance with 1/(N-1) plus lambda, inverse, distance. */
static void agrees_with_numpy_in_double_at(const char *file, bool keep) {
    mffa_err err = {0};
    mffa_safetensors *f = NULL;
    char path[512];
    snprintf(path, sizeof path, MFFA_TEST_GOLDEN "/mffa/%s", file);
    assert_ok(mffa_safetensors_open(path, &f, &err));
    const int64_t *shape = mffa_safetensors_find(f, "train")->shape;
    int64_t n = shape[0], p = shape[1], d = shape[2], tests = mffa_safetensors_find(f, "test")->shape[0];
    float *train = floats(f, "train", NULL), *test = floats(f, "test", NULL), *want = floats(f, "distance", NULL),
          *got = malloc((size_t)(tests * p) * sizeof *got);
    for (int64_t batch = 1; batch <= 16; batch += 5) {
        mffa_gaussian g = fitted(train, n, p, d, batch, 0.01, keep);
        assert_ok(mffa_gaussian_distance(&g, test, tests, 2, got, &err));
        double worst = 0;
        for (int64_t i = 0; i < tests * p; i++) worst = fmax(worst, fabs(got[i] - want[i]) / want[i]);
        if (!(worst < 2e-3)) fail_msg("%s: distance is off by %g relative", file, worst);
        if (!(g.worst_error > 0 && g.worst_error < 2e-3)) fail_msg("%s: stated error is %g", file, g.worst_error);
        if (batch == 1) print_message("%s: distance is off by %g relative at most, stated %g\n", file, worst, g.worst_error);
        assert_int_equal(g.scatter != NULL, keep);
        mffa_gaussian_done(&g);
    }
    free(train), free(test), free(want), free(got);
    mffa_safetensors_close(f);
}

/* The same sums and distances as tensor operations. */
static mffa_gaussian fitted_on_device(const float *x, int64_t n, int64_t p, int64_t d, int64_t batch, double lambda) {
    mffa_err err = {0};
    mffa_gaussian_growing *growing = NULL;
    mffa_gaussian g = {0};
    mffa_rng r;
    mffa_rng_init(&r, 1, 1);
    assert_ok(mffa_gaussian_growing_open(device, p, d, &growing, &err));
    for (int64_t i = 0; i < n; i += batch) {
        mffa_scope *scope = mffa_scope_open(device, MFFA_INFER);
        int64_t k = n - i < batch ? n - i : batch;
        assert_ok(mffa_gaussian_growing_add(growing, mffa_tensor_from(scope, MFFA_F32, x + i * p * d, 3, (int64_t[]){k, p, d}), &err));
        mffa_scope_close(scope);
    }
    assert_ok(mffa_gaussian_growing_finish(growing, lambda, true, r, NULL, &g, &err));
    mffa_gaussian_growing_close(growing);
    return g;
}

static void distances_on_device(const mffa_gaussian *g, const float *x, int64_t n, float *out) {
    mffa_err err = {0};
    mffa_scope *s = mffa_scope_open(device, MFFA_INFER);
    mffa_gaussian_tensors t = mffa_gaussian_upload(s, g);
    mffa_tensor *features = mffa_tensor_from(s, MFFA_F32, x, 3, (int64_t[]){n, g->positions, g->channels});
    mffa_tensor_read(s, mffa_gaussian_distance_on(s, &t, features), MFFA_F32, out, n * g->positions);
    assert_ok(mffa_scope_check(s, &err));
    mffa_scope_close(s);
}

static void largest(const char *what, const float *got, const float *want, int64_t n, double bound) {
    double difference = 0, most = 0;
    for (int64_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs((double)got[i] - want[i]));
        most = fmax(most, fabs((double)want[i]));
    }
    if (!(difference <= bound * most)) fail_msg("%s is off by %g of its maximum, at most %g is allowed", what, difference / most, bound);
}

static void tensor_operations_give_the_same(void **state) {
    (void)state;
    enum { N = 23, P = 7, D = 33, TESTS = 5 };
    mffa_err err = {0};
    float *x = malloc((N + TESTS) * P * D * sizeof *x), want[TESTS * P], got[TESTS * P];
    mffa_rng r;
    mffa_rng_init(&r, 5, 0);
    for (int i = 0; i < (N + TESTS) * P * D; i++) x[i] = (float)(3 + i % D + mffa_rng_normal(&r));
    mffa_gaussian host = fitted(x, N, P, D, 8, 0.01, true), on = fitted_on_device(x, N, P, D, 6, 0.01);
    largest("mean", on.mean, host.mean, P * D, 1e-6);
    largest("scatter", on.scatter, host.scatter, P * mffa_packed(D), 1e-5);
    assert_int_equal(on.images, N);
    assert_float_equal(on.worst_error, host.worst_error, 1e-4);
    assert_ok(mffa_gaussian_distance(&host, x + N * P * D, TESTS, 2, want, &err));
    distances_on_device(&host, x + N * P * D, TESTS, got);
    largest("distance", got, want, TESTS * P, 1e-5);
    assert_ok(mffa_gaussian_distance(&on, x + N * P * D, TESTS, 2, got, &err));
    largest("distance with factors made on the device", got, want, TESTS * P, 1e-4);
    mffa_gaussian_done(&host), mffa_gaussian_done(&on);
    free(x);
}

static void a_feature_that_is_not_finite_is_refused_on_a_device_too(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_gaussian_growing *g = NULL;
    float x[4] = {1, 2, INFINITY, 4};
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(device, MFFA_INFER);
    assert_ok(mffa_gaussian_growing_open(device, 2, 2, &g, &err));
    assert_int_equal(mffa_gaussian_growing_add(g, mffa_tensor_from(s, MFFA_F32, x, 3, (int64_t[]){1, 2, 2}), &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "a feature is not finite: expected finite values (are the weights sane?)");
    mffa_gaussian_growing_close(g);
}

static void agrees_with_numpy_in_double(void **state) {
    (void)state;
    agrees_with_numpy_in_double_at("gaussian_many.safetensors", false); /* N > d */
    agrees_with_numpy_in_double_at("gaussian_many.safetensors", true);
    agrees_with_numpy_in_double_at("gaussian_few.safetensors", false); /* N < d, some features constant */
    agrees_with_numpy_in_double_at("gaussian_few.safetensors", true);
    agrees_with_numpy_in_double_at("gaussian_paper.safetensors", false); /* d = 570, N = 10 */
}

static void sums_are_safe_far_from_zero_and_keep_mean_and_scatter(void **state) {
    (void)state;
    enum { N = 203, D = 5 };
    float *x = malloc(N * D * sizeof *x);
    mffa_rng r;
    mffa_rng_init(&r, 3, 0);
    for (int i = 0; i < N * D; i++) x[i] = (float)(1000 + mffa_rng_normal(&r)); /* squares about 0 would lose all 7 digits */
    mffa_gaussian g = fitted(x, N, 1, D, 8, 0.01, true);
    double mean[D] = {0};
    for (int i = 0; i < N; i++)
        for (int c = 0; c < D; c++) mean[c] += (double)x[i * D + c] / N;
    for (int a = 0; a < D; a++) {
        assert_float_equal(g.mean[a], mean[a], 1e-4);
        for (int b = 0; b <= a; b++) {
            double want = 0;
            for (int i = 0; i < N; i++) want += (x[i * D + a] - mean[a]) * (x[i * D + b] - mean[b]);
            if (fabs(g.scatter[mffa_packed(a) + b] - want) > 1e-4 * N)
                fail_msg("scatter %d %d is %g, expected %g", a, b, (double)g.scatter[mffa_packed(a) + b], want);
        }
    }
    mffa_gaussian_done(&g);
    free(x);
}

static void constant_features_leave_lambda_alone(void **state) {
    (void)state;
    mffa_err err = {0};
    float x[3 * 4], y[4] = {7, 7, 7, 7.5f}, got = -1;
    for (int i = 0; i < 12; i++) x[i] = 7;
    mffa_gaussian g = fitted(x, 3, 1, 4, 3, 0.01, false);
    assert_ok(mffa_gaussian_distance(&g, y, 1, 1, &got, &err));
    assert_float_equal(got, 5, 1e-4); /* .5 / sqrt(.01) */
    mffa_gaussian_done(&g);
}

static void one_picture_is_refused_and_so_is_what_is_not_finite(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_gaussian_sums *s = NULL;
    mffa_gaussian g = {0};
    float x[4] = {1, 2, 3, 4};
    mffa_rng r = {0};
    assert_ok(mffa_gaussian_sums_open(2, 2, 1, &s, &err));
    assert_ok(mffa_gaussian_sums_add(s, x, 1, &err));
    x[3] = NAN;
    assert_int_equal(mffa_gaussian_sums_add(s, x, 1, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "feature 1 of position 1 is nan: expected finite values (are the weights sane?)");
    assert_int_equal(mffa_gaussian_finish(&s, device, 0.01, false, r, NULL, &g, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "1 training picture: a covariance needs at least 2");
    assert_null(s);
}

static void the_paper_s_size_is_stored_in_26_percent(void **state) {
    (void)state;
    double d = 570, full = d * d * 4, ours = (double)mffa_packed(570) * sizeof(int16_t) + d * (sizeof(float) + sizeof(float));
    assert_true(ours / full <= 0.26);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_numpy_in_double),
        cmocka_unit_test(tensor_operations_give_the_same),
        cmocka_unit_test(a_feature_that_is_not_finite_is_refused_on_a_device_too),
        cmocka_unit_test(sums_are_safe_far_from_zero_and_keep_mean_and_scatter),
        cmocka_unit_test(constant_features_leave_lambda_alone),
        cmocka_unit_test(one_picture_is_refused_and_so_is_what_is_not_finite),
        cmocka_unit_test(the_paper_s_size_is_stored_in_26_percent),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}

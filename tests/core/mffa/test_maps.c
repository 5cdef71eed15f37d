#include <math.h>
#include "core/base/rng.h"
#include "core/mffa/amc.h"
#include "core/mffa/memory_bank.h"
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

static mffa_device *device;

static int open_device(void **state) {
    (void)state;
    mffa_err err = {0};
    return mffa_device_open("cpu", "fp32", 2, &device, &err);
}

static int close_device(void **state) {
    (void)state;
    mffa_device_close(device);
    return 0;
}

/* Distances to a bank of 300 rows around `centre`, against plain double arithmetic. */
static void nearest_is_exact_around(double centre, double spread) {
    enum { M = 300, N = 80, WIDTH = 48 };
    mffa_err err = {0};
    mffa_bank b = {0};
    mffa_rng r;
    float x[N * WIDTH], got[N], as_tensors[N];
    mffa_rng_init(&r, 8, 0);
    assert_ok(mffa_bank_init(&b, M, WIDTH, &err));
    for (int i = 0; i < M * WIDTH; i++) b.features[i] = (float)(centre + spread * mffa_rng_normal(&r));
    for (int i = 0; i < N * WIDTH; i++) x[i] = (float)(centre + spread * mffa_rng_normal(&r));
    memcpy(x + 5 * WIDTH, b.features + 17 * WIDTH, WIDTH * sizeof *x); /* seen before */
    mffa_bank_seal(&b);
    assert_ok(mffa_bank_nearest(&b, device, x, N, got, &err));
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(device, MFFA_INFER);
    mffa_bank_tensors tensors = mffa_bank_upload(s, &b);
    mffa_tensor *patches = mffa_tensor_from(s, MFFA_F32, x, 2, (int64_t[]){N, WIDTH});
    mffa_tensor_read(s, mffa_bank_nearest_on(s, &tensors, patches), MFFA_F32, as_tensors, N);
    assert_ok(mffa_scope_check(s, &err));
    assert_memory_equal(as_tensors, got, sizeof got);
    for (int i = 0; i < N; i++) {
        double least = INFINITY;
        for (int j = 0; j < M; j++) {
            double sum = 0;
            for (int k = 0; k < WIDTH; k++)
                sum += ((double)x[i * WIDTH + k] - b.features[j * WIDTH + k]) * ((double)x[i * WIDTH + k] - b.features[j * WIDTH + k]);
            least = fmin(least, sum);
        }
        if (fabs(got[i] - sqrt(least)) > 1e-7 * sqrt(least)) fail_msg("patch %d: %.9g, expected %.9g", i, (double)got[i], sqrt(least));
    }
    assert_float_equal(got[5], 0, 0);
    mffa_bank_done(&b);
}

static void the_nearest_row_is_found_whatever_cancels(void **state) {
    (void)state;
    nearest_is_exact_around(0, 1);
    nearest_is_exact_around(3, 0.1);
    nearest_is_exact_around(1000, 0.01); /* squared lengths of 10^7.7, squared distances of 10^-2: float32's expansion knows nothing */
}

static void read_floats(const mffa_safetensors *f, const char *name, float *out) {
    mffa_err err = {0};
    const mffa_st_tensor *t = mffa_safetensors_find(f, name);
    if (!t) fail_msg("golden file lacks \"%s\"", name);
    assert_ok(mffa_safetensors_floats(t, out, &err));
}

static void maps_are_brought_to_size_multiplied_and_blurred(void **state) {
    (void)state;
    enum { N = 2, SIDE = 40, COUNT = N * SIDE * SIDE };
    static const char *const names[] = {"product", "nns_only", "gaussian_only"};
    static const mffa_maps which[] = {MFFA_MAPS_PRODUCT, MFFA_MAPS_NNS, MFFA_MAPS_GAUSSIAN};
    mffa_err err = {0};
    mffa_safetensors *f = NULL;
    float nns[N * 64], gaussian[N * 25], want[COUNT], got[COUNT];
    assert_ok(mffa_safetensors_open(MFFA_TEST_GOLDEN "/mffa/amc.safetensors", &f, &err));
    read_floats(f, "nns", nns), read_floats(f, "gaussian", gaussian);
    for (int w = 0; w < 3; w++) {
        MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(device, MFFA_INFER);
        mffa_tensor *a = mffa_tensor_from(s, MFFA_F32, nns, 4, (int64_t[]){N, 1, 8, 8});
        mffa_tensor *b = mffa_tensor_from(s, MFFA_F32, gaussian, 4, (int64_t[]){N, 1, 5, 5});
        mffa_tensor_read(s, mffa_amc_fuse(s, a, b, SIDE, 4, which[w]).fused, MFFA_F32, got, COUNT);
        assert_ok(mffa_scope_check(s, &err));
        read_floats(f, names[w], want);
        for (int i = 0; i < COUNT; i++)
            if (fabsf(got[i] - want[i]) > 1e-5f * 30)
                fail_msg("%s: pixel %d is %g, expected %g", names[w], i, (double)got[i], (double)want[i]);
    }
    mffa_safetensors_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_row_is_found_whatever_cancels),
        cmocka_unit_test(maps_are_brought_to_size_multiplied_and_blurred),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}

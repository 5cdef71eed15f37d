/* The pipeline on a GPU against the same pipeline on the CPU. Label gpu; without a GPU, or in a build without CUDA, it skips and says so.
 */
#include <math.h>
#include "core/base/rng.h"
#include "core/mffa/coreset_device.h"
#include "core/mffa/model_difference.h"
#include "core/mffa/model_parts.h"
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

enum { SIDE = 64, GRID = 12, TRAIN = 4, TEST = 3, PIXELS = SIDE * SIDE, PICTURE = 3 * PIXELS };

static float pictures[(TRAIN + TEST) * PICTURE];

static int read_pictures(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *golden = NULL;
    if (mffa_safetensors_open(MFFA_TEST_GOLDEN "/mffa/model.safetensors", &golden, &err)) return print_error("%s\n", err.msg), -1;
    const uint8_t *bytes = mffa_safetensors_find(golden, "pictures")->data;
    for (int i = 0; i < (TRAIN + TEST) * PICTURE; i++) pictures[i] = (float)bytes[i] / 255.0f;
    return 0;
}

static mffa_code load(void *ctx, int64_t i, int side, float *out, mffa_err *err) {
    (void)ctx, (void)side, (void)err;
    memcpy(out, pictures + i * PICTURE, PICTURE * sizeof *out);
    return MFFA_OK;
}

static mffa_network *network(const char *device, const char *precision) {
    mffa_err err = {0};
    mffa_network *n = NULL;
    mffa_network_files files = {MFFA_TEST_GOLDEN "/mffa/tiny_backbone.safetensors", MFFA_TEST_GOLDEN "/mffa/tiny_transformer.safetensors"};
    mffa_network_options options = {.device = device, .precision = precision, .threads = 2, .batch = 2};
    assert_ok(mffa_network_open(&files, 2, &options, &n, &err));
    return n;
}

static mffa_model *fitted(mffa_network *net) {
    mffa_err err = {0};
    mffa_model *m = NULL;
    mffa_profile p = {.name = "small",
                      .side = SIDE,
                      .grid = GRID,
                      .blocks = 2,
                      .gaussian_channels = 10,
                      .ratio = 0.1,
                      .lambda = 0.01,
                      .sigma = 4,
                      .seed = 9};
    assert_ok(
        mffa_model_fit(net, &p, &(mffa_provenance){.dataset = "file:///x"}, &(mffa_source){.count = TRAIN, .load = load}, NULL, &m, &err));
    return m;
}

static void score(const mffa_model *m, mffa_network *net, float *maps) {
    mffa_err err = {0};
    mffa_score scores[TEST];
    assert_ok(mffa_model_score(m, net, MFFA_MAPS_PRODUCT, pictures + TRAIN * PICTURE, TEST, maps, scores, &err));
}

/* max |a - b| / max |b| */
static double apart(const float *a, const float *b, int64_t n) {
    double difference = 0, most = 0;
    for (int64_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs((double)a[i] - b[i]));
        most = fmax(most, fabs((double)b[i]));
    }
    return difference / most;
}

static void maps_of_one_model_agree(void **state) {
    (void)state;
    static float here[TEST * PIXELS], there[TEST * PIXELS];
    static const struct {
        const char *precision;
        double bound;
    } all[] = {{"fp32", 1e-3}, {"tf32", 2e-2}, {"bf16", 2e-1}};
    mffa_network *cpu = network("cpu", "fp32");
    mffa_model *m = fitted(cpu);
    score(m, cpu, here);
    for (size_t i = 0; i < MFFA_COUNT(all); i++) {
        mffa_network *gpu = network("cuda:0", all[i].precision);
        score(m, gpu, there);
        double off = apart(there, here, TEST * PIXELS);
        print_message("%s: maps differ by %.3g of their maximum\n", all[i].precision, off);
        assert_true(off <= all[i].bound);
        mffa_network_close(gpu);
    }
    mffa_model_close(m);
    mffa_network_close(cpu);
}

static void a_fit_chooses_the_same_patches_and_sums_the_same(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *cpu = network("cpu", "fp32"), *gpu = network("cuda:0", "fp32");
    mffa_model *a = fitted(cpu), *b = fitted(gpu);
    mffa_model_difference d;
    assert_ok(mffa_model_compare(a, b, &d, &err));
    for (int i = 0; i < MFFA_MODEL_PARTS; i++)
        print_message("%-24s %lld values differ, at most by %.3g\n", d.parts[i].name, (long long)d.parts[i].differing, d.parts[i].largest);
    assert_true(d.largest <= 1e-3); /* a chosen patch that differs counts as 1 */
    mffa_model_close(a), mffa_model_close(b);
    mffa_network_close(cpu), mffa_network_close(gpu);
}

/* ---- coreset ---- */

enum { ROWS = 20000, CHOSEN = 400 };
static float rows[ROWS * MFFA_CORESET_WIDTH];

static void choose_on_both(const mffa_device *gpu, const char *what, int64_t n, int64_t m) {
    mffa_err err = {0};
    static int64_t here[CHOSEN], there[CHOSEN];
    assert_ok(mffa_coreset_choose(rows, n, m, n / 3, here, NULL, &err));
    assert_ok(mffa_coreset_choose_on(gpu, rows, n, m, n / 3, there, NULL, &err));
    for (int64_t i = 0; i < m; i++)
        if (here[i] != there[i])
            fail_msg("%s: choice %lld is %lld on the CPU, %lld on the GPU", what, (long long)i, (long long)here[i], (long long)there[i]);
}

static void a_coreset_is_the_same_index_for_index(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_device *gpu = NULL;
    mffa_rng r;
    mffa_rng_init(&r, 3, 3);
    assert_ok(mffa_device_open("cuda:0", "fp32", 2, &gpu, &err));
    for (int i = 0; i < ROWS * MFFA_CORESET_WIDTH; i++) rows[i] = (float)mffa_rng_normal(&r);
    choose_on_both(gpu, "random", ROWS, CHOSEN);
    choose_on_both(gpu, "all of a few", 37, 37);
    choose_on_both(gpu, "a single one", 1, 1);
    for (int i = 0; i < ROWS * MFFA_CORESET_WIDTH; i++) rows[i] = rows[i] / 1024 + (float)(i / MFFA_CORESET_WIDTH % 7);
    choose_on_both(gpu, "clustered", ROWS, CHOSEN);
    for (int i = 0; i < ROWS; i++)
        memcpy(rows + i * MFFA_CORESET_WIDTH, rows + i % 90 * MFFA_CORESET_WIDTH, MFFA_CORESET_WIDTH * sizeof *rows);
    choose_on_both(gpu, "duplicated", ROWS, CHOSEN); /* more are wanted than differ */
    for (int i = 0; i < ROWS * MFFA_CORESET_WIDTH; i++) rows[i] = 5;
    choose_on_both(gpu, "constant", ROWS, CHOSEN);
    rows[7] = NAN;
    assert_int_equal(mffa_coreset_choose_on(gpu, rows, ROWS, 2, 0, (int64_t[2]){0}, NULL, &err), MFFA_EINVAL);
    mffa_device_close(gpu);
}

/* ---- memory ---- */

/* All but `leave` bytes of the device, taken in pieces. */
static mffa_scope *hog(const mffa_device *d, int64_t leave) {
    mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    int64_t piece = INT64_C(64) << 20, pieces = (mffa_device_memory_of(d).available - leave) / piece;
    while (pieces-- > 0)
        (void)mffa_tensor_from(s, MFFA_F32, NULL, 1, (int64_t[]){piece / 4});
    return s;
}

static void scoring_goes_on_with_half_the_batch_when_memory_runs_out(void **state) {
    (void)state;
    enum { MANY = 512 };
    mffa_err err = {0};
    static float images[MANY * PICTURE], maps[MANY * PIXELS], alone[PIXELS];
    static mffa_score scores[MANY];
    mffa_network_files files = {MFFA_TEST_GOLDEN "/mffa/tiny_backbone.safetensors", MFFA_TEST_GOLDEN "/mffa/tiny_transformer.safetensors"};
    mffa_network_options options = {.device = "cuda:0", .precision = "fp32", .threads = 2, .batch = MANY};
    mffa_network *gpu = NULL;
    assert_ok(mffa_network_open(&files, 2, &options, &gpu, &err));
    mffa_model *m = fitted(gpu);
    for (int i = 0; i < MANY; i++) memcpy(images + i * PICTURE, pictures + TRAIN * PICTURE, PICTURE * sizeof *images);
    assert_ok(mffa_model_score(m, gpu, MFFA_MAPS_PRODUCT, images, 1, alone, scores, &err));
    mffa_scope *taken = hog(mffa_network_device(gpu), INT64_C(160) << 20);
    assert_ok(mffa_scope_check(taken, &err));
    assert_ok(mffa_model_score(m, gpu, MFFA_MAPS_PRODUCT, images, MANY, maps, scores, &err));
    print_message("batch %d of %d wanted\n", mffa_network_describe(gpu)->batch, MANY);
    assert_true(mffa_network_describe(gpu)->batch < MANY);
    assert_true(apart(maps + (MANY - 1) * PIXELS, alone, PIXELS) <= 1e-3);
    mffa_scope_close(taken);
    mffa_model_close(m);
    mffa_network_close(gpu);
}

static void what_does_not_fit_is_out_of_memory_and_the_device_goes_on(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *gpu = network("cuda:0", "fp32");
    mffa_scope *s = mffa_scope_open(mffa_network_device(gpu), MFFA_INFER);
    (void)mffa_tensor_from(s, MFFA_F32, NULL, 1, (int64_t[]){INT64_C(1) << 42});
    assert_int_equal(mffa_scope_check(s, &err), MFFA_ENOMEM);
    mffa_scope_close(s);
    assert_true(mffa_device_works(mffa_network_device(gpu)));
    mffa_network_close(gpu);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_of_one_model_agree),
        cmocka_unit_test(a_fit_chooses_the_same_patches_and_sums_the_same),
        cmocka_unit_test(a_coreset_is_the_same_index_for_index),
        cmocka_unit_test(scoring_goes_on_with_half_the_batch_when_memory_runs_out),
        cmocka_unit_test(what_does_not_fit_is_out_of_memory_and_the_device_goes_on),
    };
    mffa_err err = {0};
    mffa_device *d = NULL;
    if (mffa_device_open("cuda:0", "fp32", 1, &d, &err)) {
        printf("skipped: %s\n", err.msg);
        return MFFA_TEST_SKIP;
    }
    mffa_device_close(d);
    return cmocka_run_group_tests(tests, read_pictures, NULL);
}

/* The pipeline on a GPU against the same pipeline on the CPU. Label gpu; without a GPU, or in a build without CUDA, it skips and says so.
 */
#include <math.h>
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

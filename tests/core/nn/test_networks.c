/* Every network that the service takes, against torchvision and timm: tests/golden/make_nn.py made the references in double precision,
 * from weights that both sides compute from a formula. --write FILE puts every value into a file, for that script's --check. */
#include <math.h>
#include <unistd.h>
#include "core/nn/cait.h"
#include "core/nn/resnet.h"
#include "tests/support/seeded_weights.h"
#include "tests/support/test.h"

enum { IMAGES = 2, SIDE = 64, TOKENS = 49, STEP = 61 };
static const int block_counts[] = {1, 2, 11};
static const mffa_test_resnet resnets[] = {
    {"resnet18", {2, 2, 2, 2}, 64, 0},   {"resnet34", {3, 4, 6, 3}, 64, 0},         {"resnet50", {3, 4, 6, 3}, 64, 1},
    {"resnet101", {3, 4, 23, 3}, 64, 1}, {"wide_resnet50_2", {3, 4, 6, 3}, 128, 1}, {"wide_resnet101_2", {3, 4, 23, 3}, 128, 1},
};
static const struct {
    const char *name;
    int width;
} caits[] = {{"cait_xxs24", 192}, {"cait_xs24", 288}, {"cait_s24", 384}, {"cait_m36", 768}};

static char folder[] = "/tmp/mffa-test-XXXXXX", weights_path[64];

/* Told each output: name, shape, values. */
typedef void output(void *ctx, const char *name, int rank, const int64_t *shape, const float *values, int64_t count);

static mffa_weights *open_weights(void) {
    mffa_err err = {0};
    mffa_weights *w = NULL;
    assert_ok(mffa_weights_open(weights_path, &w, &err));
    return w;
}

static void tell(mffa_scope *s, const char *name, const mffa_tensor *t, output *fn, void *ctx) {
    mffa_err err = {0};
    int64_t count = mffa_tensor_count(t), shape[MFFA_MAX_RANK];
    float *values = malloc((size_t)(count ? count : 1) * sizeof *values);
    assert_non_null(values);
    mffa_tensor_read(s, t, MFFA_F32, values, count);
    assert_ok(mffa_scope_check(s, &err));
    for (int i = 0; i < mffa_tensor_rank(t); i++) shape[i] = mffa_tensor_size(t, i);
    fn(ctx, name, mffa_tensor_rank(t), shape, values, count);
    free(values);
}

static void run_resnet(const mffa_device *d, const mffa_test_resnet *net, output *fn, void *ctx) {
    static float input[IMAGES * 3 * SIDE * SIDE];
    mffa_err err = {0};
    mffa_resnet *r = NULL;
    mffa_test_write_resnet(net, weights_path);
    mffa_weights *w = open_weights();
    assert_string_equal(mffa_weights_describe(w)->name, net->name);
    assert_ok(mffa_resnet_open(d, w, MFFA_INFER, 3, &r, &err));
    mffa_test_seeded("input", 0, 4, input, IMAGES * 3 * SIDE * SIDE);
    mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    mffa_stages out = mffa_resnet_forward(s, r, mffa_tensor_borrow(s, MFFA_F32, input, 4, (int64_t[]){IMAGES, 3, SIDE, SIDE}), false);
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.layer%d", net->name, i + 1);
        tell(s, name, out.stage[i], fn, ctx);
    }
    mffa_scope_close(s);
    mffa_resnet_close(r);
    mffa_weights_close(w);
}

static void run_cait(const mffa_device *d, const char *name_of, int width, output *fn, void *ctx) {
    static float input[IMAGES * TOKENS * 768];
    mffa_err err = {0};
    mffa_test_write_cait(width, 11, weights_path);
    mffa_weights *w = open_weights();
    assert_int_equal(mffa_weights_describe(w)->heads, width / 48);
    mffa_test_seeded("tokens", 0, 4, input, (int64_t)IMAGES * TOKENS * width);
    for (size_t i = 0; i < MFFA_COUNT(block_counts); i++) {
        char name[64];
        mffa_cait *c = NULL;
        snprintf(name, sizeof name, "%s.blocks%d", name_of, block_counts[i]);
        assert_ok(mffa_cait_open(d, w, block_counts[i], &c, &err));
        mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
        tell(s, name, mffa_cait_forward(s, c, mffa_tensor_borrow(s, MFFA_F32, input, 3, (int64_t[]){IMAGES, TOKENS, width})), fn, ctx);
        mffa_scope_close(s);
        mffa_cait_close(c);
    }
    mffa_weights_close(w);
}

static mffa_device *open_device(void) {
    mffa_err err = {0};
    mffa_device *d = NULL;
    const char *named = getenv("MFFA_TEST_DEVICE");
    assert_ok(mffa_device_open(named ? named : "cpu", "fp32", 2, &d, &err));
    return d;
}

static void compare(void *ctx, const char *name, int rank, const int64_t *shape, const float *values, int64_t count) {
    const mffa_safetensors *golden = ctx;
    char most_name[80];
    mffa_err err = {0};
    (void)rank, (void)shape;
    snprintf(most_name, sizeof most_name, "%s.max", name);
    const mffa_st_tensor *t = mffa_safetensors_find(golden, name), *m = mffa_safetensors_find(golden, most_name);
    if (!t || !m) fail_msg("the golden file lacks \"%s\"", name);
    float *want = malloc((size_t)t->count * sizeof *want), most;
    assert_non_null(want);
    assert_ok(mffa_safetensors_floats(t, want, &err));
    assert_ok(mffa_safetensors_floats(m, &most, &err));
    assert_int_equal((count + STEP - 1) / STEP, t->count);
    float worst = 0;
    for (int64_t i = 0; i < t->count; i++) worst = fmaxf(worst, fabsf(values[i * STEP] - want[i]));
    free(want);
    print_message("%-28s max |a-b| / max |b| = %.2e\n", name, (double)(worst / most));
    if (!(worst <= 1e-5f * most)) fail_msg("%s is off by %g of its maximum", name, (double)(worst / most));
}

static mffa_safetensors *open_golden(void) {
    mffa_err err = {0};
    mffa_safetensors *golden = NULL;
    assert_ok(mffa_safetensors_open(MFFA_TEST_GOLDEN "/nn/networks.safetensors", &golden, &err));
    return golden;
}

static void resnets_compute_what_torchvision_computes(void **state) {
    (void)state;
    mffa_safetensors *golden = open_golden();
    mffa_device *d = open_device();
    for (size_t i = 0; i < MFFA_COUNT(resnets); i++) run_resnet(d, &resnets[i], compare, golden);
    mffa_device_close(d);
    mffa_safetensors_close(golden);
}

static void caits_compute_what_timm_computes(void **state) {
    (void)state;
    mffa_safetensors *golden = open_golden();
    mffa_device *d = open_device();
    for (size_t i = 0; i < MFFA_COUNT(caits); i++) run_cait(d, caits[i].name, caits[i].width, compare, golden);
    mffa_device_close(d);
    mffa_safetensors_close(golden);
}

/* ---- --write ---- */

enum { OUTPUTS = MFFA_COUNT(resnets) * 3 + MFFA_COUNT(caits) * MFFA_COUNT(block_counts) };
typedef struct kept {
    char name[OUTPUTS][64];
    int rank[OUTPUTS];
    int64_t shape[OUTPUTS][4], count[OUTPUTS];
    float *values[OUTPUTS];
    int n;
} kept;

static void keep(void *ctx, const char *name, int rank, const int64_t *shape, const float *values, int64_t count) {
    kept *k = ctx;
    int i = k->n++;
    snprintf(k->name[i], sizeof k->name[i], "%s", name);
    memcpy(k->shape[i], shape, (size_t)(k->rank[i] = rank) * sizeof *shape);
    k->count[i] = count;
    k->values[i] = malloc((size_t)count * sizeof *values);
    assert_non_null(k->values[i]);
    memcpy(k->values[i], values, (size_t)count * sizeof *values);
}

static const char *write_path;
static void writes_every_output(void **state) {
    (void)state;
    static kept k;
    mffa_err err = {0};
    mffa_st_writer *w = NULL;
    mffa_device *d = open_device();
    for (size_t i = 0; i < MFFA_COUNT(resnets); i++) run_resnet(d, &resnets[i], keep, &k);
    for (size_t i = 0; i < MFFA_COUNT(caits); i++) run_cait(d, caits[i].name, caits[i].width, keep, &k);
    mffa_device_close(d);
    assert_ok(mffa_st_writer_open(write_path, &w, &err));
    for (int i = 0; i < k.n; i++) assert_ok(mffa_st_writer_declare(w, k.name[i], MFFA_F32, k.rank[i], k.shape[i], &err));
    for (int i = 0; i < k.n; i++) assert_ok(mffa_st_writer_put(w, k.values[i], (size_t)k.count[i] * sizeof(float), &err));
    assert_ok(mffa_st_writer_finish(w, &err));
    mffa_st_writer_close(w);
    for (int i = 0; i < k.n; i++) free(k.values[i]);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(resnets_compute_what_torchvision_computes),
                                       cmocka_unit_test(caits_compute_what_timm_computes)};
    const struct CMUnitTest writing[] = {cmocka_unit_test(writes_every_output)};
    if (!mkdtemp(folder)) return perror(folder), 1;
    snprintf(weights_path, sizeof weights_path, "%s/weights.safetensors", folder);
    bool write = argc == 3 && strcmp(argv[1], "--write") == 0;
    write_path = write ? argv[2] : NULL;
    int failed = write ? cmocka_run_group_tests(writing, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(weights_path);
    (void)rmdir(folder);
    return failed;
}

/* Fit and evaluate on real photographs with real weights: the folder that MFFA_TEST_DATA names, or shared/data beside the source tree.
 * The bounds are what an independent implementation reaches (image 1.0, pixel .986), less what other random channels can cost. */
#include <ftw.h>
#include "core/image/dataset.h"
#include "core/image/decode.h"
#include "core/image/resize.h"
#include "core/mffa/metrics.h"
#include "core/mffa/model.h"
#include "tests/support/test.h"

enum { SIDE = 256, MOST_KEYS = 1000 };

static const mffa_limits limits = {.max_bytes = 64 << 20, .max_pixels = 64 << 20};
static char data[512], root[600], *keys[MOST_KEYS];
static size_t key_count;

static int add_key(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)at;
    if (type == FTW_F && key_count < MOST_KEYS) keys[key_count++] = strdup(path + strlen(root) + 1);
    return 0;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static mffa_dataset *open_dataset(mffa_dataset_use use) {
    mffa_err err = {0};
    mffa_dataset *d = NULL;
    assert_ok(mffa_dataset_open((const char *const *)keys, key_count, use, &d, &err));
    return d;
}

static mffa_code decode(const char *key, mffa_code (*as)(mffa_span, const mffa_limits *, mffa_image *, mffa_err *), mffa_image *out,
                        mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", root, key);
    mffa_code rc = mffa_buf_read_file(&b, path, (size_t)limits.max_bytes, err);
    return rc ? rc : as(mffa_buf_span(&b), &limits, out, err);
}

static mffa_code load(void *ctx, int64_t i, int side, float *out, mffa_err *err) {
    MFFA_AUTO(mffa_image_done) mffa_image im = {0};
    mffa_code rc = decode(mffa_dataset_at(ctx, (size_t)i)->key, mffa_decode_rgb, &im, err);
    return rc ? rc : mffa_resize_rgb(&im, side, out, err);
}

static void add_picture(mffa_metrics *figures, mffa_dataset *test, size_t i, const mffa_model *m, mffa_network *net) {
    static float picture[3 * SIDE * SIDE], map[SIDE * SIDE];
    static uint8_t mask[SIDE * SIDE];
    MFFA_AUTO(mffa_image_done) mffa_image im = {0};
    mffa_err err = {0};
    mffa_score score;
    const mffa_sample *s = mffa_dataset_at(test, i);
    assert_ok(load(test, (int64_t)i, SIDE, picture, &err));
    assert_ok(mffa_model_score(m, net, MFFA_MAPS_PRODUCT, picture, 1, map, &score, &err));
    if (s->mask_key) {
        assert_ok(decode(s->mask_key, mffa_decode_mask, &im, &err));
        mffa_resize_mask(&im, SIDE, mask);
    }
    assert_ok(mffa_metrics_add(figures, s->type, s->label, (double)score.score, map, s->mask_key ? mask : NULL, &err));
}

static void stained_hazelnuts_are_told_from_clean_ones_and_the_stain_is_found(void **state) {
    (void)state;
    mffa_err err = {0};
    char backbone[600], transformer[600];
    snprintf(backbone, sizeof backbone, "%s/weights/resnet18_imagenet_layer3.safetensors", data);
    snprintf(transformer, sizeof transformer, "%s/weights/deit_tiny_as_cait_blocks.safetensors", data);
    mffa_dataset *train = open_dataset(MFFA_USE_TRAIN), *test = open_dataset(MFFA_USE_TEST);
    mffa_network *net = NULL;
    mffa_profile p;
    mffa_model *m = NULL;
    mffa_metrics *figures = NULL;
    mffa_figures f = {0};
    assert_ok(mffa_profile_named("small", &p, &err));
    assert_ok(mffa_network_open(&(mffa_network_files){backbone, transformer}, p.blocks, &(mffa_network_options){"cpu", "fp32", 0, 8, false},
                                &net, &err));
    mffa_source source = {.count = (int64_t)mffa_dataset_count(train), .ctx = train, .load = load};
    assert_ok(mffa_model_fit(net, &p, &(mffa_provenance){0}, &source, NULL, &m, &err));
    assert_ok(mffa_metrics_open("/tmp", 64 << 20, SIDE, &figures, &err));
    for (size_t i = 0; i < mffa_dataset_count(test); i++) add_picture(figures, test, i, m, net);
    assert_ok(mffa_metrics_finish(figures, &f, &err));
    print_message("image AUROC %.4f, pixel AUROC %.4f, AUPRO %.4f\n", f.image_auroc.value, f.pixel_auroc.value, f.aupro.value);
    assert_float_equal(f.image_auroc.value, 1, 0);
    assert_true(f.pixel_auroc.value >= 0.98);
    assert_true(f.aupro.value >= 0.94);
    mffa_figures_done(&f);
    mffa_metrics_close(figures);
    mffa_model_close(m);
    mffa_network_close(net);
    mffa_dataset_close(train), mffa_dataset_close(test);
}

int main(void) {
    const char *named = getenv("MFFA_TEST_DATA");
    snprintf(data, sizeof data, "%s", named ? named : MFFA_TEST_SOURCE "/../shared/data");
    snprintf(root, sizeof root, "%s/hazelnut_toy", data);
    nftw(root, add_key, 8, FTW_PHYS);
    if (!key_count) {
        printf("skipped: there are no photographs in \"%s\" (MFFA_TEST_DATA names another folder)\n", root);
        return MFFA_TEST_SKIP;
    }
    qsort(keys, key_count, sizeof *keys, by_bytes);
    const struct CMUnitTest tests[] = {cmocka_unit_test(stained_hazelnuts_are_told_from_clean_ones_and_the_stain_is_found)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < key_count; i++) free(keys[i]);
    return failed;
}

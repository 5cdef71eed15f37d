#include "core/mffa/metrics.h"

#include <math.h>
#include <unistd.h>
#include "core/base/rng.h"
#include "core/mffa/regions.h"
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

enum { PLENTY = 16 << 20, LEAST = 64 << 10 };

static const void *golden(const mffa_safetensors *f, const char *name, mffa_dtype dtype) {
    const mffa_st_tensor *t = mffa_safetensors_find(f, name);
    if (!t || t->dtype != dtype) fail_msg("golden file lacks \"%s\"", name);
    return t->data;
}

static void near(mffa_figure got, double want, const char *what) {
    if (!got.known) fail_msg("%s is missing: %s", what, got.reason);
    if (fabs(got.value - want) > 1e-9) fail_msg("%s is %.17g, expected %.17g", what, got.value, want);
}

static void agrees_with_scikit_learn_ties_included(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_safetensors *f = NULL;
    mffa_metrics *m = NULL;
    mffa_figures got = {0};
    assert_ok(mffa_safetensors_open(MFFA_TEST_GOLDEN "/mffa/metrics.safetensors", &f, &err));
    const mffa_st_tensor *maps = mffa_safetensors_find(f, "maps");
    int side = (int)maps->shape[1];
    float *map = malloc((size_t)maps->count * sizeof *map);
    double scores[32], want[9], types[9];
    int64_t kind[32];
    assert_ok(mffa_safetensors_floats(maps, map, &err));
    const uint8_t *masks = golden(f, "masks", MFFA_U8);
    memcpy(scores, golden(f, "scores", MFFA_F64), (size_t)maps->shape[0] * sizeof *scores);
    memcpy(kind, golden(f, "kind", MFFA_I64), (size_t)maps->shape[0] * sizeof *kind);
    memcpy(want, golden(f, "figures", MFFA_F64), sizeof want);
    memcpy(types, golden(f, "types", MFFA_F64), sizeof types);
    assert_ok(mffa_metrics_open("/tmp", PLENTY, side, &m, &err));
    static const char *const names[] = {"good", "crack", "ding", "etch"};
    for (int64_t i = maps->shape[0]; i-- > 0;) /* any order of pictures gives the same */
        assert_ok(mffa_metrics_add(m, names[kind[i]], kind[i] > 0, scores[i], map + i * side * side, masks + i * side * side, &err));
    assert_ok(mffa_metrics_finish(m, &got, &err));
    near(got.image_auroc, want[0], "image AUROC"), near(got.image_auprc, want[1], "image AUPRC");
    near(got.f1_max, want[2], "F1-max"), near(got.f1_threshold, want[3], "F1's threshold");
    near(got.pixel_auroc, want[4], "pixel AUROC"), near(got.pixel_auprc, want[5], "pixel AUPRC");
    near(got.pixel_f1_max, want[6], "pixel F1-max"), near(got.pixel_f1_threshold, want[7], "pixel F1's threshold");
    near(got.aupro, want[8], "AUPRO");
    assert_int_equal(got.type_count, 3);
    for (int t = 0; t < 3; t++) {
        assert_string_equal(got.types[t].type, names[t + 1]);
        near(got.types[t].image_auroc, types[3 * t], names[t + 1]);
        near(got.types[t].pixel_auroc, types[3 * t + 1], names[t + 1]);
        near(got.types[t].aupro, types[3 * t + 2], names[t + 1]);
    }
    assert_int_equal(got.images, 20), assert_int_equal(got.normal, 8), assert_int_equal(got.defect, 12), assert_int_equal(got.masks, 12);
    mffa_figures_done(&got);
    mffa_metrics_close(m);
    mffa_safetensors_close(f);
    free(map);
}

/* A picture set from a seed: blobs of random rectangles, maps with few distinct values. */
typedef struct scene {
    int n, side;
    float *maps;
    uint8_t *masks;
} scene;

static scene scene_make(int n, int side, int levels) {
    scene s = {.n = n,
               .side = side,
               .maps = calloc((size_t)n * (size_t)(side * side), sizeof(float)),
               .masks = calloc((size_t)n, (size_t)(side * side))};
    mffa_rng r;
    mffa_rng_init(&r, 5, 0);
    for (int i = n / 2; i < n; i++)
        for (int k = 0; k < 3; k++) {
            int x0 = (int)mffa_rng_below(&r, (uint64_t)side), y0 = (int)mffa_rng_below(&r, (uint64_t)side);
            int w = 1 + (int)mffa_rng_below(&r, 9), h = 1 + (int)mffa_rng_below(&r, 9);
            for (int y = y0; y < y0 + h && y < side; y++)
                for (int x = x0; x < x0 + w && x < side; x++) s.masks[(i * side + y) * side + x] = 1;
        }
    for (int i = 0; i < n * side * side; i++) s.maps[i] = (float)(floor((mffa_rng_normal(&r) + s.masks[i]) * levels) / levels);
    return s;
}

static void scene_done(scene *s) {
    free(s->maps);
    free(s->masks);
}

static mffa_figures scene_figures(const scene *s, int64_t memory) {
    mffa_err err = {0};
    mffa_metrics *m = NULL;
    mffa_figures f = {0};
    assert_ok(mffa_metrics_open("/tmp", memory, s->side, &m, &err));
    for (int i = 0; i < s->n; i++) {
        size_t at = (size_t)i * (size_t)(s->side * s->side);
        assert_ok(mffa_metrics_add(m, i % 3 ? "odd" : "even", i >= s->n / 2, (double)i, s->maps + at, i >= s->n / 2 ? s->masks + at : NULL,
                                   &err));
    }
    assert_ok(mffa_metrics_finish(m, &f, &err));
    mffa_metrics_close(m);
    return f;
}

/* PRO by its definition: for every threshold the share of each region at or above it, averaged; the curve over the false positive
 * rate integrated by trapezia up to .3. */
static double pro_by_definition(const scene *s) {
    int pixels = s->side * s->side, distinct = 0;
    int32_t *sizes = malloc((size_t)pixels * sizeof *sizes), *work = malloc((size_t)pixels * sizeof *work);
    float *levels = malloc((size_t)(s->n * pixels) * sizeof *levels);
    for (int i = 0; i < s->n * pixels; i++) {
        int known = 0;
        for (int k = 0; k < distinct && !known; k++) known = levels[k] == s->maps[i];
        if (!known) levels[distinct++] = s->maps[i];
    }
    double x0 = 0, y0 = 0, area = 0;
    for (;;) {
        float level = -INFINITY;
        for (int k = 0; k < distinct; k++)
            if (levels[k] > level) level = levels[k];
        for (int k = 0; k < distinct; k++)
            if (levels[k] == level) levels[k] = -INFINITY;
        double overlap = 0, false_positives = 0, negatives = 0, regions = 0;
        for (int i = 0; i < s->n; i++) {
            const uint8_t *mask = s->masks + i * pixels;
            regions += mffa_regions(mask, s->side, s->side, sizes, work);
            for (int p = 0; p < pixels; p++) {
                int called = s->maps[i * pixels + p] >= level;
                negatives += !mask[p];
                false_positives += called && !mask[p];
                if (called && mask[p]) overlap += 1.0 / sizes[p];
            }
        }
        double x1 = false_positives / negatives, y1 = overlap / regions;
        if (x1 > 0.3) {
            y1 = y0 + (y1 - y0) * (0.3 - x0) / (x1 - x0);
            area += (0.3 - x0) * (y0 + y1) / 2;
            break;
        }
        area += (x1 - x0) * (y0 + y1) / 2;
        x0 = x1;
        y0 = y1;
    }
    free(sizes), free(work), free(levels);
    return area / 0.3;
}

static void aupro_is_the_area_under_per_region_overlap(void **state) {
    (void)state;
    scene s = scene_make(8, 20, 6);
    mffa_figures f = scene_figures(&s, PLENTY);
    near(f.aupro, pro_by_definition(&s), "AUPRO");
    mffa_figures_done(&f);
    scene_done(&s);
}

static void spilling_changes_no_bit(void **state) {
    (void)state;
    scene s = scene_make(20, 64, 50); /* 81 920 pixels: 20 times what the least memory holds */
    mffa_figures a = scene_figures(&s, PLENTY), b = scene_figures(&s, LEAST);
    assert_memory_equal(&a.pixel_auroc.value, &b.pixel_auroc.value, sizeof(double));
    assert_memory_equal(&a.pixel_auprc.value, &b.pixel_auprc.value, sizeof(double));
    assert_memory_equal(&a.pixel_f1_max.value, &b.pixel_f1_max.value, sizeof(double));
    assert_memory_equal(&a.pixel_f1_threshold.value, &b.pixel_f1_threshold.value, sizeof(double));
    assert_memory_equal(&a.aupro.value, &b.aupro.value, sizeof(double));
    for (size_t t = 0; t < 2; t++) {
        assert_memory_equal(&a.types[t].pixel_auroc.value, &b.types[t].pixel_auroc.value, sizeof(double));
        assert_memory_equal(&a.types[t].aupro.value, &b.types[t].aupro.value, sizeof(double));
    }
    mffa_figures_done(&a), mffa_figures_done(&b);
    scene_done(&s);
}

static void regions_join_at_corners_and_know_their_size(void **state) {
    (void)state;
    static const char picture[] = "#..#."
                                  ".#..#"
                                  "#...#"
                                  "....."
                                  "##.##";
    uint8_t mask[25];
    int32_t sizes[25], work[25];
    for (int i = 0; i < 25; i++) mask[i] = picture[i] == '#';
    assert_int_equal(mffa_regions(mask, 5, 5, sizes, work), 4);
    static const int32_t want[25] = {3, 0, 0, 3, 0, 0, 3, 0, 0, 3, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 2, 2, 0, 2, 2};
    assert_memory_equal(sizes, want, sizeof want);
    memset(mask, 1, sizeof mask);
    assert_int_equal(mffa_regions(mask, 5, 5, sizes, work), 1);
    assert_int_equal(sizes[24], 25);
    memset(mask, 0, sizeof mask);
    assert_int_equal(mffa_regions(mask, 5, 5, sizes, work), 0);
}

/* One row of a table: which pictures there are, and what is said of the figures. */
static mffa_figures with(int normal, int defective, bool masks, uint8_t fill) {
    mffa_err err = {0};
    mffa_metrics *m = NULL;
    mffa_figures f = {0};
    float map[16] = {0.5f, 1, -2};
    uint8_t mask[16];
    memset(mask, fill, sizeof mask);
    assert_ok(mffa_metrics_open("/tmp", LEAST, 4, &m, &err));
    for (int i = 0; i < normal; i++) assert_ok(mffa_metrics_add(m, "good", 0, 0.25, map, NULL, &err));
    for (int i = 0; i < defective; i++) assert_ok(mffa_metrics_add(m, "crack", 1, 0.5, map, masks ? mask : NULL, &err));
    assert_ok(mffa_metrics_finish(m, &f, &err));
    mffa_metrics_close(m);
    return f;
}

static void a_figure_that_does_not_exist_says_why(void **state) {
    (void)state;
    static const struct {
        int normal, defective;
        bool masks;
        uint8_t fill;
        const char *image, *pixel;
    } table[] = {
        {0, 0, false, 0, "no picture", "only normal pictures"},
        {3, 0, false, 0, "only normal pictures", "only normal pictures"},
        {0, 3, true, 1, "only defective pictures", "every pixel is defective"},
        {2, 2, false, 0, NULL, "no masks"},
        {2, 2, true, 0, NULL, "the masks are empty"},
        {2, 2, true, 1, NULL, NULL},
    };
    for (size_t i = 0; i < MFFA_COUNT(table); i++) {
        mffa_figures f = with(table[i].normal, table[i].defective, table[i].masks, table[i].fill);
        assert_int_equal(f.image_auroc.known, !table[i].image);
        assert_int_equal(f.aupro.known, !table[i].pixel);
        if (table[i].image) assert_string_equal(f.f1_max.reason, table[i].image);
        if (table[i].pixel) assert_string_equal(f.pixel_auroc.reason, table[i].pixel);
        if (!table[i].image) near(f.image_auroc, 1, "image AUROC");
        mffa_figures_done(&f);
    }
}

static void auroc_of_plain_scores_refuses_one_class(void **state) {
    (void)state;
    mffa_err err = {0};
    double out = -1, scores[] = {1, 2, 2, 3};
    assert_ok(mffa_auroc(scores, (const uint8_t[]){0, 1, 0, 1}, 4, &out, &err));
    assert_float_equal(out, 3.5 / 4, 0);
    assert_int_equal(mffa_auroc(scores, (const uint8_t[]){1, 1, 1, 1}, 4, &out, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "AUROC needs both classes: only defective pictures");
}

static void refuses_what_cannot_be_ordered_or_contradicts_itself(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_metrics *m = NULL;
    float map[4] = {0, 1, 2, NAN};
    uint8_t mask[4] = {0, 0, 1, 0};
    assert_ok(mffa_metrics_open("/tmp", LEAST, 2, &m, &err));
    assert_int_equal(mffa_metrics_add(m, "crack", 1, 1, map, mask, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "map is nan at (1, 1): figures need finite maps");
    map[3] = 0;
    assert_int_equal(mffa_metrics_add(m, "crack", 1, INFINITY, map, mask, &err), MFFA_EINVAL);
    assert_int_equal(mffa_metrics_add(m, "good", 0, 1, map, mask, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "a normal picture's mask marks a defect at (0, 1)");
    assert_int_equal(mffa_metrics_add(m, "good", -1, 1, map, NULL, &err), MFFA_EINVAL);
    mffa_metrics_close(m);
    assert_int_equal(mffa_metrics_open("/nonexistent/folder", LEAST, 2, &m, &err), MFFA_EIO);
    assert_non_null(strstr(err.msg, "\"/nonexistent/folder\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_scikit_learn_ties_included),
        cmocka_unit_test(aupro_is_the_area_under_per_region_overlap),
        cmocka_unit_test(spilling_changes_no_bit),
        cmocka_unit_test(regions_join_at_corners_and_know_their_size),
        cmocka_unit_test(a_figure_that_does_not_exist_says_why),
        cmocka_unit_test(auroc_of_plain_scores_refuses_one_class),
        cmocka_unit_test(refuses_what_cannot_be_ordered_or_contradicts_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "scheduler/ctl/sample.h"

#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include "core/base/digest.h"
#include "core/image/dataset.h"
#include "core/image/decode.h"
#include "core/nn/safetensors.h"
#include "scheduler/ctl/sample_scene.h"
#include "tests/support/test.h"

enum { MOST_KEYS = 200, SIDE = 96 };
static const mffa_sample_options few = {.seed = 7, .train = 3, .good = 2, .defects_per_kind = 2, .side_px = SIDE, .profile = "small"};
static const mffa_limits plenty = {1 << 28, 1 << 26};
static char root[] = "/tmp/mffa-sample-XXXXXX"; /* root/a: written once with `few`, for all tests */

/* Sorted relative keys of a tree. */
static char *keys[MOST_KEYS];
static size_t key_count, prefix_length;

static int collect(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)at;
    if (type == FTW_F && key_count < MOST_KEYS) keys[key_count++] = strdup(path + prefix_length);
    return 0;
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *folder) {
    while (key_count) free(keys[--key_count]);
    prefix_length = strlen(folder) + 1;
    assert_int_equal(nftw(folder, collect, 16, FTW_PHYS), 0);
    qsort(keys, key_count, sizeof *keys, compare);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}

static const char *in_root(const char *name) {
    static char path[4][256];
    static int next;
    char *p = path[next++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static int setup(void **state) {
    (void)state;
    mffa_err err = {0};
    if (!mkdtemp(root)) return -1;
    if (mffa_sample_write(in_root("a"), &few, NULL, &err)) return fprintf(stderr, "%s\n", err.msg), -1;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    while (key_count) free(keys[--key_count]);
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void opens_as_a_data_set_with_a_mask_for_every_defect(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *train = NULL;
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *test = NULL;
    list(in_root("a/dataset"));
    assert_int_equal(key_count, 3 + 2 + 5 * 2 * 2);
    assert_ok(mffa_dataset_open((const char *const *)keys, key_count, MFFA_USE_TRAIN, &train, &err));
    assert_ok(mffa_dataset_open((const char *const *)keys, key_count, MFFA_USE_TEST, &test, &err));
    assert_int_equal(mffa_dataset_count(train), 3);
    assert_int_equal(mffa_dataset_count(test), 12);
    assert_int_equal(mffa_dataset_ignored(test), 0);
    int per_kind[MFFA_SAMPLE_DEFECT_COUNT + 1] = {0};
    for (size_t i = 0; i < 12; i++) {
        const mffa_sample *s = mffa_dataset_at(test, i);
        for (int d = 0; d <= MFFA_SAMPLE_DEFECT_COUNT; d++)
            per_kind[d] += strcmp(s->type, mffa_sample_defect_name((mffa_sample_defect)d)) == 0;
        assert_int_equal(s->label, strcmp(s->type, "good") != 0);
        assert_int_equal(s->mask_key != NULL, s->label);
    }
    for (int d = 0; d <= MFFA_SAMPLE_DEFECT_COUNT; d++) assert_int_equal(per_kind[d], 2);
    list(in_root("a"));
    assert_int_equal(key_count, 25 + 2); /* and nothing else is left behind */
}

static void decode_file(const char *path, bool mask, mffa_image *out) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    assert_ok(mffa_buf_read_file(&file, path, 1 << 26, &err));
    assert_ok((mask ? mffa_decode_mask : mffa_decode_rgb)(mffa_buf_span(&file), &plenty, out, &err));
    assert_int_equal(out->width_px, SIDE);
    assert_int_equal(out->height_px, SIDE);
}

/* The same picture is made again without its defect; train and good come first, so the defects are numbers 5 and on. */
static void masks_cover_exactly_the_changed_pixels(void **state) {
    (void)state;
    uint64_t number = 5;
    for (int d = 0; d < MFFA_SAMPLE_DEFECT_COUNT; d++)
        for (int i = 0; i < 2; i++, number++) {
            mffa_err err = {0};
            char name[128];
            MFFA_AUTO(mffa_image_done) mffa_image picture = {0}, mask = {0}, clean = {0};
            snprintf(name, sizeof name, "a/dataset/test/%s/%03d.png", mffa_sample_defect_name((mffa_sample_defect)d), i);
            decode_file(in_root(name), false, &picture);
            snprintf(name, sizeof name, "a/dataset/ground_truth/%s/%03d_mask.png", mffa_sample_defect_name((mffa_sample_defect)d), i);
            decode_file(in_root(name), true, &mask);
            assert_ok(mffa_sample_scene(few.seed, number, MFFA_SAMPLE_NORMAL, SIDE, &clean, NULL, &err));
            int covered = 0;
            for (int p = 0; p < SIDE * SIDE; p++) {
                bool changed = memcmp(picture.pixels + 3 * p, clean.pixels + 3 * p, 3) != 0;
                assert_int_equal(mask.pixels[p], changed ? 255 : 0);
                covered += changed;
            }
            assert_in_range(covered, SIDE * SIDE / 2000, SIDE * SIDE / 20); /* there is a defect, and it is a small one */
        }
}

static void digest_tree(const char *folder, mffa_buf *out) {
    mffa_err err = {0};
    list(folder);
    for (size_t i = 0; i < key_count; i++) {
        char path[512], hex[MFFA_SHA256_HEX];
        snprintf(path, sizeof path, "%s/%s", folder, keys[i]);
        assert_ok(mffa_sha256_file(path, hex, &err));
        mffa_buf_putf(out, "%s %s\n", keys[i], hex);
    }
}

static void the_same_seed_gives_the_same_bytes_and_another_seed_others(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_sample_options other = few;
    other.seed = 8;
    assert_ok(mffa_sample_write(in_root("deep/er/b"), &few, NULL, &err)); /* folders on the way are made */
    assert_ok(mffa_sample_write(in_root("c"), &other, NULL, &err));
    MFFA_AUTO(mffa_buf_done) mffa_buf a = {0}, b = {0}, c = {0};
    digest_tree(in_root("a"), &a);
    digest_tree(in_root("deep/er/b"), &b);
    digest_tree(in_root("c"), &c);
    assert_string_equal(mffa_buf_text(&a), mffa_buf_text(&b));
    assert_int_equal(a.len, c.len);
    const char *line_a = mffa_buf_text(&a), *line_c = mffa_buf_text(&c);
    for (size_t i = 0; i < 27; i++) { /* every file differs: pictures, masks, weights */
        assert_int_equal(strcspn(line_a, "\n"), strcspn(line_c, "\n"));
        assert_memory_not_equal(line_a, line_c, strcspn(line_a, "\n"));
        line_a = strchr(line_a, '\n') + 1, line_c = strchr(line_c, '\n') + 1;
    }
}

static void no_two_pictures_are_alike(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image one = {0}, two = {0};
    assert_ok(mffa_sample_scene(1, 0, MFFA_SAMPLE_NORMAL, SIDE, &one, NULL, &err));
    assert_ok(mffa_sample_scene(1, 1, MFFA_SAMPLE_NORMAL, SIDE, &two, NULL, &err));
    int differing = 0;
    for (int i = 0; i < SIDE * SIDE * 3; i++) differing += abs(one.pixels[i] - two.pixels[i]) > 3;
    assert_true(differing > SIDE * SIDE);
}

static void assert_distribution(const mffa_st_tensor *t, double deviation, double constant) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) float *v = mffa_alloc_array((size_t)t->count, sizeof *v);
    assert_ok(mffa_safetensors_floats(t, v, &err));
    double sum = 0, squares = 0, n = (double)t->count;
    for (int64_t i = 0; i < t->count; i++) {
        if (deviation == 0) assert_true(v[i] == (float)constant);
        sum += v[i], squares += (double)v[i] * v[i];
    }
    if (deviation == 0) return;
    assert_true(fabs(sum / n) < 5 * deviation / sqrt(n));
    if (fabs(sqrt(squares / n) / deviation - 1) > 5 / sqrt(2 * n))
        fail_msg("%s: deviation %g, expected %g", t->name, sqrt(squares / n), deviation);
}

static void weights_have_the_names_shapes_and_spread_of_torchvision_and_timm(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *backbone = NULL;
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *transformer = NULL;
    assert_ok(mffa_safetensors_open(in_root("a/weights/backbone.safetensors"), &backbone, &err));
    assert_ok(mffa_safetensors_open(in_root("a/weights/transformer.safetensors"), &transformer, &err));
    assert_string_equal(mffa_safetensors_meta(backbone, "seed"), "7");
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(MFFA_TEST_GOLDEN "/sample_weights.txt", "re");
    assert_non_null(f);
    char file[32], name[96], shape[64];
    double deviation, constant;
    size_t lines = 0;
    while (fscanf(f, "%31s %95s %63s %lf %lf", file, name, shape, &deviation, &constant) == 5) {
        const mffa_st_tensor *t = mffa_safetensors_find(strcmp(file, "backbone") == 0 ? backbone : transformer, name);
        if (!t) fail_msg("%s is missing", name);
        char got[64] = "";
        for (int i = 0; i < t->rank; i++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%lld", i ? "x" : "", (long long)t->shape[i]);
        assert_string_equal(got, shape);
        assert_distribution(t, deviation, constant);
        lines++;
    }
    assert_int_equal(lines, mffa_safetensors_count(backbone) + mffa_safetensors_count(transformer));
}

static void refuses_what_it_cannot_do_and_leaves_nothing(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_int_equal(mffa_sample_write(in_root("a"), &few, NULL, &err), MFFA_EEXISTS);
    assert_non_null(strstr(err.msg, "/a/dataset\" is there already: remove it or name another folder"));
    mffa_sample_options o = few;
    o.side_px = 5000;
    assert_int_equal(mffa_sample_write(in_root("d"), &o, NULL, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "side_px=5000: expected an integer from 64 to 2048");
    o = few;
    o.profile = "large";
    assert_int_equal(mffa_sample_write(in_root("d"), &o, NULL, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "profile=\"large\": expected small or paper");
    assert_int_not_equal(access(in_root("d"), F_OK), 0);
    assert_int_equal(mffa_sample_write("", &few, NULL, &err), MFFA_EINVAL);
    assert_int_not_equal(mffa_sample_write("/proc/nowhere/x", &few, NULL, &err), MFFA_OK);
    assert_non_null(strstr(err.msg, "could not make the folder \"/proc/nowhere\""));
}

static bool stop_at_weights(void *ctx, const char *phase, int64_t done, int64_t total) {
    assert_in_range(done, 1, total);
    *(int *)ctx += 1;
    return strcmp(phase, "weights") != 0;
}

static void a_stopped_write_leaves_nothing(void **state) {
    (void)state;
    mffa_err err = {0};
    int ticks = 0;
    const mffa_progress progress = {&ticks, stop_at_weights};
    assert_int_equal(mffa_sample_write(in_root("e"), &few, &progress, &err), MFFA_ECANCELLED);
    assert_int_equal(ticks, 3 + 2 + 10 + 1);
    assert_int_equal(rmdir(in_root("e")), 0); /* empty */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_as_a_data_set_with_a_mask_for_every_defect),
        cmocka_unit_test(masks_cover_exactly_the_changed_pixels),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes_and_another_seed_others),
        cmocka_unit_test(no_two_pictures_are_alike),
        cmocka_unit_test(weights_have_the_names_shapes_and_spread_of_torchvision_and_timm),
        cmocka_unit_test(refuses_what_it_cannot_do_and_leaves_nothing),
        cmocka_unit_test(a_stopped_write_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

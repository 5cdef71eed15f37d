#include "core/image/dataset.h"

#include "tests/support/test.h"

#define OPEN(use, ...)                                                                                                                     \
    open_keys((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), use, &d, &err)

static mffa_code open_keys(const char *const *keys, size_t n, mffa_dataset_use use, mffa_dataset **out, mffa_err *err) {
    mffa_dataset_close(*out);
    *out = NULL;
    return mffa_dataset_open(keys, n, use, out, err);
}

static void assert_sample(const mffa_dataset *d, size_t i, const char *key, const char *type, int label, const char *mask) {
    const mffa_sample *s = mffa_dataset_at(d, i);
    assert_non_null(s);
    assert_string_equal(s->key, key);
    assert_string_equal(s->type, type);
    assert_int_equal(s->label, label);
    if (mask) assert_string_equal(s->mask_key, mask);
    else assert_null(s->mask_key);
}

static void reads_the_mvtec_layout(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *d = NULL;
    const char *const keys[] = {"ground_truth/crack/000_mask.png",
                                "ground_truth/crack/001.PNG",
                                "ground_truth/hole/deep/7.bmp",
                                "license.txt",
                                "test/crack/000.png",
                                "test/crack/001.JPG",
                                "test/crack/002.png",
                                "test/good/000.png",
                                "test/hole/deep/7.png",
                                "train/bad/000.png",
                                "train/good/000.png",
                                "train/good/._000.png",
                                "train/good/001.bmp"};
    const char *sorted[MFFA_COUNT(keys)];
    memcpy(sorted, keys, sizeof keys);
    sorted[10] = keys[11], sorted[11] = keys[10]; /* '.' sorts before '0' */
    assert_ok(open_keys(sorted, MFFA_COUNT(sorted), MFFA_USE_TRAIN, &d, &err));
    assert_int_equal(mffa_dataset_count(d), 2);
    assert_int_equal(mffa_dataset_ignored(d), 2);
    assert_sample(d, 0, "train/good/000.png", "good", 0, NULL);
    assert_sample(d, 1, "train/good/001.bmp", "good", 0, NULL);
    assert_null(mffa_dataset_at(d, 2));
    assert_ok(open_keys(sorted, MFFA_COUNT(sorted), MFFA_USE_TEST, &d, &err));
    assert_int_equal(mffa_dataset_count(d), 5);
    assert_sample(d, 0, "test/crack/000.png", "crack", 1, "ground_truth/crack/000_mask.png");
    assert_sample(d, 1, "test/crack/001.JPG", "crack", 1, "ground_truth/crack/001.PNG");
    assert_sample(d, 2, "test/crack/002.png", "crack", 1, NULL);
    assert_sample(d, 3, "test/good/000.png", "good", 0, NULL);
    assert_sample(d, 4, "test/hole/deep/7.png", "hole", 1, "ground_truth/hole/deep/7.bmp");
}

static void reads_the_btad_layout(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *d = NULL;
    assert_ok(OPEN(MFFA_USE_TEST, "ground_truth/ko/0000.bmp", "ground_truth/ko/0001.png", "test/ko/0000.bmp", "test/ko/0001.bmp",
                   "test/ok/0002.bmp", "train/ok/0000.bmp"));
    assert_int_equal(mffa_dataset_count(d), 3);
    assert_sample(d, 0, "test/ko/0000.bmp", "ko", 1, "ground_truth/ko/0000.bmp");
    assert_sample(d, 1, "test/ko/0001.bmp", "ko", 1, "ground_truth/ko/0001.png");
    assert_sample(d, 2, "test/ok/0002.bmp", "good", 0, NULL);
    assert_ok(OPEN(MFFA_USE_TRAIN, "test/ok/0002.bmp", "train/ok/0000.bmp"));
    assert_sample(d, 0, "train/ok/0000.bmp", "good", 0, NULL);
}

static void any_tree_of_images_can_be_scored(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *d = NULL;
    assert_ok(OPEN(MFFA_USE_SCORE, "a.png", "line2/b.jpeg", "line2/notes.md", "z.BMP"));
    assert_int_equal(mffa_dataset_count(d), 3);
    assert_int_equal(mffa_dataset_ignored(d), 1);
    assert_sample(d, 1, "line2/b.jpeg", "", -1, NULL);
}

static void says_what_is_missing_and_what_was_found(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *d = NULL;
    assert_int_equal(OPEN(MFFA_USE_TRAIN, "README", "train/normal/a.png", "train/normal/b.png", "validation/x/y.png"), MFFA_EINVAL);
    assert_string_equal(err.msg, "the data set has no picture in train/good/ or train/ok/ (PNG, JPEG or BMP): found \"README\", "
                                 "\"train/normal/\", \"validation/x/\"");
    assert_int_equal(OPEN(MFFA_USE_TRAIN, "train/good/a.tiff"), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "found \"train/good/\""));
    assert_int_equal(OPEN(MFFA_USE_TEST, "test/a.png", "train/good/a.png"), MFFA_EINVAL);
    assert_string_equal(err.msg, "the data set has no picture in test/good/, test/ok/ or test/<type of defect>/ (PNG, JPEG or BMP): found "
                                 "\"test/\", \"train/good/\"");
    assert_int_equal(mffa_dataset_open(NULL, 0, MFFA_USE_SCORE, &d, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the data set has no picture (PNG, JPEG or BMP): found nothing at all");
    assert_null(d);
}

static void refuses_masks_that_fit_nothing(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *d = NULL;
    assert_int_equal(OPEN(MFFA_USE_TEST, "ground_truth/crack/009_mask.png", "test/crack/008.png"), MFFA_EINVAL);
    assert_string_equal(err.msg, "mask \"ground_truth/crack/009_mask.png\" has no picture: expected a picture \"test/crack/009_mask\" "
                                 "(less \"_mask\" at its end, with "
                                 "any picture's ending)");
    assert_int_equal(OPEN(MFFA_USE_TEST, "ground_truth/crack/009.jpg", "test/crack/009.png"), MFFA_EINVAL);
    assert_string_equal(err.msg, "mask \"ground_truth/crack/009.jpg\" is a JPEG, which cannot hold exact edges: masks are PNG or BMP");
    assert_int_equal(OPEN(MFFA_USE_TEST, "ground_truth/crack/009.png", "ground_truth/crack/009_mask.png", "test/crack/009.png"),
                     MFFA_EINVAL);
    assert_string_equal(
        err.msg,
        "picture \"test/crack/009.png\" has two masks, \"ground_truth/crack/009_mask.png\" and \"ground_truth/crack/009.png\": remove one");
    assert_ok(OPEN(MFFA_USE_TRAIN, "ground_truth/crack/009.png", "train/good/000.png")); /* training needs no masks */
    assert_int_equal(OPEN(MFFA_USE_SCORE, "b.png", "a.png"), MFFA_EBUG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_mvtec_layout),
        cmocka_unit_test(reads_the_btad_layout),
        cmocka_unit_test(any_tree_of_images_can_be_scored),
        cmocka_unit_test(says_what_is_missing_and_what_was_found),
        cmocka_unit_test(refuses_masks_that_fit_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

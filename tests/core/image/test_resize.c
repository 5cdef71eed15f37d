#include "core/image/resize.h"

#include "tests/core/image/golden.h"

static mffa_safetensors *golden; /* opened by main: inputs, and what torchvision and torch make of them */

/* Calls fn for every case: the reference "<prefix> <h>x<w>_<side>" with its input tensor. */
static int each(const char *prefix, const char *input, void (*fn)(const mffa_st_tensor *in, const mffa_st_tensor *want)) {
    int cases = 0;
    for (size_t i = 0; i < mffa_safetensors_count(golden); i++) {
        const mffa_st_tensor *want = mffa_safetensors_at(golden, i);
        if (strncmp(want->name, prefix, strlen(prefix)) != 0) continue;
        char name[64];
        snprintf(name, sizeof name, "%s%s", input, want->name + strlen(prefix));
        fn(mffa_safetensors_find(golden, name), want);
        cases++;
    }
    return cases;
}

static void rgb_case(const mffa_st_tensor *in, const mffa_st_tensor *want) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image image = {0};
    MFFA_AUTO(mffa_free_p) float *got = mffa_alloc_array((size_t)want->count, sizeof *got);
    golden_image(in, &image);
    assert_ok(mffa_resize_rgb(&image, (int)want->shape[1], got, &err));
    MFFA_AUTO(mffa_free_p) float *expected = mffa_alloc_array((size_t)want->count, sizeof *expected);
    assert_ok(mffa_safetensors_floats(want, expected, &err));
    double d = largest_difference(got, expected, (size_t)want->count);
    if (d > 1e-6) fail_msg("%s differs by %g", want->name, d);
}

static void pictures_equal_torchvision_to_a_millionth(void **state) {
    (void)state;
    assert_int_equal(each("resized ", "rgb ", rgb_case), 7);
}

static void mask_case(const mffa_st_tensor *in, const mffa_st_tensor *want) {
    MFFA_AUTO(mffa_image_done) mffa_image mask = {0};
    MFFA_AUTO(mffa_free_p) uint8_t *got = mffa_alloc_array((size_t)want->count, 1);
    golden_image(in, &mask);
    mffa_resize_mask(&mask, (int)want->shape[1], got);
    if (memcmp(got, want->data, want->bytes) != 0) fail_msg("%s differs", want->name);
}

static void masks_equal_torch(void **state) {
    (void)state;
    assert_int_equal(each("nearest ", "mask ", mask_case), 7);
}

static void plane_case(const mffa_st_tensor *in, const mffa_st_tensor *want) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) float *from = mffa_alloc_array((size_t)in->count, sizeof *from);
    MFFA_AUTO(mffa_free_p) float *got = mffa_alloc_array((size_t)want->count, sizeof *got);
    MFFA_AUTO(mffa_free_p) float *expected = mffa_alloc_array((size_t)want->count, sizeof *expected);
    assert_ok(mffa_safetensors_floats(in, from, &err));
    assert_ok(mffa_safetensors_floats(want, expected, &err));
    mffa_resize_plane(from, (int)in->shape[0], (int)in->shape[1], got, (int)want->shape[0], (int)want->shape[1]);
    double d = largest_difference(got, expected, (size_t)want->count);
    if (d > 1e-5) fail_msg("%s differs by %g", want->name, d); /* a position of 50 is known to 4e-6, and noise changes by up to 6 a pixel */
}

static void planes_equal_torch(void **state) {
    (void)state;
    assert_int_equal(each("bilinear ", "plane ", plane_case), 7);
}

static void a_picture_of_the_right_size_is_only_divided(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image image = {0};
    assert_ok(mffa_image_init(&image, 16, 16, 3, &err));
    for (int i = 0; i < 768; i++) image.pixels[i] = (uint8_t)i;
    float got[768];
    assert_ok(mffa_resize_rgb(&image, 16, got, &err));
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 3; c++) assert_true(got[c * 256 + i] == (float)image.pixels[3 * i + c] / 255);
}

/* Against sampling written out pixel by pixel, over more than one block of columns. */
static void a_wide_plane_is_sampled_at_every_column(void **state) {
    (void)state;
    enum { W = 700, H = 3 };
    static float out[W * H];
    const float in[6] = {0, 1, 2, 10, 11, 12};
    mffa_resize_plane(in, 2, 3, out, H, W);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            double sx = (x + .5) * 3 / W - .5, sy = (y + .5) * 2 / H - .5;
            sx = sx < 0 ? 0 : sx > 2 ? 2 : sx, sy = sy < 0 ? 0 : sy > 1 ? 1 : sy;
            assert_float_equal(out[y * W + x], sx + 10 * sy, 1e-5f);
        }
}

int main(void) {
    mffa_err err = {0};
    if (mffa_safetensors_open(MFFA_TEST_GOLDEN "/image/resize.safetensors", &golden, &err)) return fprintf(stderr, "%s\n", err.msg), 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_equal_torchvision_to_a_millionth),
        cmocka_unit_test(masks_equal_torch),
        cmocka_unit_test(planes_equal_torch),
        cmocka_unit_test(a_picture_of_the_right_size_is_only_divided),
        cmocka_unit_test(a_wide_plane_is_sampled_at_every_column),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mffa_safetensors_close(golden);
    return failed;
}

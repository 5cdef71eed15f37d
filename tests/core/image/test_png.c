#include "core/image/png.h"

#include "tests/core/image/golden.h"

static void fill(mffa_image *im, int width, int height, int channels) {
    mffa_err err = {0};
    assert_ok(mffa_image_init(im, width, height, channels, &err));
    for (int i = 0; i < width * height * channels; i++) im->pixels[i] = (uint8_t)(i * 7 + i / 31);
}

static void reads_back_what_it_wrote(void **state) {
    (void)state;
    mffa_err err = {0};
    static const int sides[][2] = {{1, 1}, {13, 9}, {257, 3}, {2, 300}};
    for (size_t s = 0; s < MFFA_COUNT(sides); s++)
        for (int channels = 1; channels <= 3; channels += 2) {
            MFFA_AUTO(mffa_image_done) mffa_image im = {0}, back = {0};
            MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
            fill(&im, sides[s][0], sides[s][1], channels);
            mffa_buf_puts(&file, "kept");
            assert_ok(mffa_png_write(&im, &file, &err));
            assert_memory_equal(file.ptr, "kept", 4); /* appended */
            assert_ok(mffa_png_read((mffa_span){file.ptr + 4, file.len - 4}, &plenty, &back, &err));
            assert_int_equal(back.width_px, im.width_px);
            assert_int_equal(back.height_px, im.height_px);
            for (int i = 0; i < im.width_px * im.height_px * 3; i++) assert_int_equal(back.pixels[i], im.pixels[channels == 3 ? i : i / 3]);
        }
}

static void writes_16_bits_in_the_files_order(void **state) {
    (void)state;
    mffa_err err = {0};
    const uint16_t values[6] = {0, 1, 257, 65535, 65534, 0x1234};
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    MFFA_AUTO(mffa_image_done) mffa_image back = {0}, mask = {0};
    assert_ok(mffa_png_write_grey16(values, 3, 2, &file, &err));
    assert_ok(mffa_png_read(mffa_buf_span(&file), &plenty, &back, &err));
    const uint8_t scaled[6] = {0, 0, 1, 255, 255, 18}; /* round(v / 257) */
    for (int i = 0; i < 6; i++) assert_int_equal(back.pixels[3 * i], scaled[i]);
    assert_ok(mffa_png_read_mask(mffa_buf_span(&file), &plenty, &mask, &err));
    for (int i = 0; i < 6; i++) assert_int_equal(mask.pixels[i], values[i] ? 255 : 0);
}

static void a_damaged_byte_is_an_error(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    read_golden("rgb8.png", &file);
    const size_t end_checksum = 4; /* of the chunk that holds nothing: newer versions of libpng do not look at it */
    for (size_t i = 8; i < file.len - end_checksum; i++) { /* every chunk is guarded by its checksum */
        mffa_err err = {0};
        MFFA_AUTO(mffa_image_done) mffa_image im = {0};
        file.ptr[i] ^= 0x10;
        if (!mffa_png_read(mffa_buf_span(&file), &plenty, &im, &err)) fail_msg("byte %zu was changed and not noticed", i);
        file.ptr[i] ^= 0x10;
    }
}

static void refuses_sides_that_no_image_has(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image im = {0};
    assert_int_equal(mffa_image_init(&im, 0, 5, 3, &err), MFFA_EINVAL);
    assert_int_equal(mffa_image_init(&im, 65536, 5, 3, &err), MFFA_EINVAL);
    assert_int_equal(mffa_image_init(&im, 5, 5, 2, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "no image has 5 x 5 pixels of 2 channels: expected sides of 1 to 65535 and 1 or 3 channels");
    assert_null(im.pixels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back_what_it_wrote),
        cmocka_unit_test(writes_16_bits_in_the_files_order),
        cmocka_unit_test(a_damaged_byte_is_an_error),
        cmocka_unit_test(refuses_sides_that_no_image_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

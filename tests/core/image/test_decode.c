#include "core/image/decode.h"

#include "core/image/png.h"
#include "tests/core/image/golden.h"

static mffa_safetensors *expected; /* opened by main */

static int largest_step(const mffa_image *a, const mffa_image *b) {
    int most = 0;
    for (size_t i = 0, n = (size_t)a->width_px * (size_t)a->height_px * (size_t)a->channels; i < n; i++) {
        int d = abs(a->pixels[i] - b->pixels[i]);
        if (d > most) most = d;
    }
    return most;
}

/* Every reference but the masks: the file of that name must decode to it. JPEG decoders may round differently, by a level. */
static void decodes_every_kind_of_file(void **state) {
    (void)state;
    mffa_err err = {0};
    int files = 0;
    for (size_t i = 0; i < mffa_safetensors_count(expected); i++) {
        const mffa_st_tensor *t = mffa_safetensors_at(expected, i);
        if (strncmp(t->name, "mask ", 5) == 0) continue;
        MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
        MFFA_AUTO(mffa_image_done) mffa_image want = {0}, got = {0};
        read_golden(t->name, &file);
        golden_image(t, &want);
        assert_ok(mffa_decode_rgb(mffa_buf_span(&file), &plenty, &got, &err));
        assert_int_equal(got.width_px, want.width_px);
        assert_int_equal(got.height_px, want.height_px);
        assert_int_equal(got.channels, 3);
        int step = largest_step(&want, &got), allowed = strstr(t->name, ".jpg") ? 1 : 0;
        if (step > allowed) fail_msg("%s differs by %d levels", t->name, step);
        files++;
    }
    assert_int_equal(files, 36);
}

static void decodes_masks_from_every_kind_of_file(void **state) {
    (void)state;
    mffa_err err = {0};
    int files = 0;
    for (size_t i = 0; i < mffa_safetensors_count(expected); i++) {
        const mffa_st_tensor *t = mffa_safetensors_at(expected, i);
        if (strncmp(t->name, "mask ", 5) != 0) continue;
        MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
        MFFA_AUTO(mffa_image_done) mffa_image got = {0};
        read_golden(t->name + 5, &file);
        assert_ok(mffa_decode_mask(mffa_buf_span(&file), &plenty, &got, &err));
        assert_int_equal(got.channels, 1);
        assert_int_equal(got.width_px, t->shape[1]);
        if (memcmp(got.pixels, t->data, t->bytes) != 0) fail_msg("%s differs", t->name);
        files++;
    }
    assert_int_equal(files, 31);
}

static mffa_code decode(mffa_span file, const mffa_limits *limits, mffa_err *err) {
    mffa_image rgb = {0}, mask = {0};
    mffa_code rc = mffa_decode_rgb(file, limits, &rgb, err);
    assert_true((rc == MFFA_OK) == (rgb.pixels != NULL)); /* untouched on failure */
    mffa_err other = {0};
    mffa_code rc_mask = mffa_decode_mask(file, limits, &mask, &other);
    assert_int_equal(rc, rc_mask);
    assert_true((rc == MFFA_OK) == (mask.pixels != NULL));
    mffa_image_done(&rgb);
    mffa_image_done(&mask);
    return rc;
}

static void a_file_cut_anywhere_is_an_error(void **state) {
    (void)state;
    static const char *const names[] = {"rgb8.png",
                                        "grey16.png",
                                        "rgba16_interlaced.png",
                                        "palette4.png",
                                        "420.jpg",
                                        "progressive.jpg",
                                        "grey.jpg",
                                        "restart.jpg",
                                        "rgb24.bmp",
                                        "palette1_core.bmp",
                                        "palette8_10_colours.bmp",
                                        "rgb32_odd_fields.bmp"};
    for (size_t i = 0; i < MFFA_COUNT(names); i++) {
        MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
        read_golden(names[i], &file);
        for (size_t len = 0; len < file.len; len++) {
            mffa_err err = {0};
            MFFA_AUTO(mffa_free_p) char *exact = mffa_alloc_array(len, 1); /* so that a read behind the end is seen */
            memcpy(exact, file.ptr, len);
            if (decode((mffa_span){exact, len}, &plenty, &err) != MFFA_EINVAL)
                fail_msg("%s cut to %zu of %zu bytes was read", names[i], len, file.len);
            assert_true(err.msg[0] != '\0');
        }
    }
}

static void says_what_is_wrong(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_int_equal(decode((mffa_span){"", 0}, &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the file is empty");
    assert_int_equal(decode(mffa_span_of("GIF89a"), &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "not a PNG, JPEG or BMP image: it begins with the bytes 47 49 46 38");
    assert_int_equal(decode(mffa_span_of("G"), &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "not a PNG, JPEG or BMP image: it begins with the bytes 47");
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    read_golden("cmyk.jpg", &file);
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "the JPEG has the four print colours (CMYK), which depend on a printer: convert it to RGB"));
    mffa_buf_clear(&file);
    read_golden("rgb8.png", &file);
    assert_int_equal(decode((mffa_span){file.ptr, file.len - 1}, &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the PNG cannot be read: the file is cut short");
    mffa_buf_clear(&file);
    read_golden("420.jpg", &file);
    assert_int_equal(decode((mffa_span){file.ptr, file.len / 2}, &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the JPEG cannot be read: Premature end of JPEG file");
}

static void refuses_too_many_bytes_or_pixels(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    read_golden("rgb8.png", &file);
    const mffa_limits few_bytes = {100, 1 << 20}, few_pixels = {1 << 20, 116}, exact = {1 << 20, 117};
    assert_int_equal(decode(mffa_buf_span(&file), &few_bytes, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "at most 100 are allowed (MFFA_MAX_IMAGE_BYTES)"));
    assert_int_equal(decode(mffa_buf_span(&file), &few_pixels, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "it has 13 x 9 = 117 pixels, at most 116 are allowed (MFFA_MAX_IMAGE_PIXELS)");
    assert_ok(decode(mffa_buf_span(&file), &exact, &err));
}

/* Files of a few dozen bytes whose headers claim 100 and 4295 megapixels: refused from the header (the sanitizer would also refuse the
 * allocation). The check is on the claim, so the pixel data need not be there. */
static void refuses_bombs_from_their_headers(void **state) {
    (void)state;
    static const uint8_t jpeg[] = {0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0xFF, 0xDC, 0xFF, 0xDC, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0,
                                   0xFF, 0xDA, 0, 12,   3, 1, 0,    2,    0,    3,    0,    0, 63, 0};
    mffa_err err = {0};
    assert_int_equal(decode((mffa_span){jpeg, sizeof jpeg}, &plenty, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "it has 65500 x 65500 = 4290250000 pixels"));
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    read_golden("rgb24.bmp", &file);
    memcpy(file.ptr + 18, &(int32_t[]){10000, 10000}, 8);
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "it has 10000 x 10000 = 100000000 pixels, at most 67108864"));
    memcpy(file.ptr + 18, &(int32_t[]){INT32_MAX, INT32_MIN}, 8);
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "its header says 2147483647 x 2147483648 pixels: expected sides of 1 to 65535");
    MFFA_AUTO(mffa_image_done) mffa_image black = {0};
    assert_ok(mffa_image_init(&black, 10000, 10000, 1, &err));
    mffa_buf_clear(&file);
    assert_ok(mffa_png_write(&black, &file, &err));
    assert_true(file.len < 1 << 21);
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "it has 10000 x 10000 = 100000000 pixels, at most 67108864"));
}

static void refuses_variants_of_bmp_by_name(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    read_golden("palette8.bmp", &file);
    file.ptr[30] = 1;
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the BMP is compressed (RLE8), which is not read here: save it uncompressed or as PNG");
    file.ptr[30] = 0, file.ptr[28] = 16;
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the BMP has 16 bits per pixel: expected 1, 4, 8, 24 or 32; save it as 24 bit or as PNG");
    file.ptr[28] = 8, file.ptr[46] = 3, file.ptr[47] = 0; /* three colours, and pixels that use more */
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "of a palette of 3"));
    file.ptr[46] = 0, file.ptr[10] = 20; /* pixels that begin inside the header */
    file.ptr[11] = 0;
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the BMP's header lies: its pixels begin at byte 20, inside the header");
    file.ptr[14] = 13;
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the BMP has a header of 13 bytes: expected 12, or 40 to 124");
    mffa_buf_clear(&file);
    read_golden("rgb32_odd_fields.bmp", &file);
    file.ptr[54] = 1;
    assert_int_equal(decode(mffa_buf_span(&file), &plenty, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "the BMP has colour masks 0000FF01 00FF0000 FF000000: expected whole bytes"));
}

static void tells_image_keys_from_others(void **state) {
    (void)state;
    static const char *const yes[] = {"a.png", "test/x/A.JPG", "b.jpeg", "c.BMP", "x.y.Png"};
    static const char *const no[] = {"a.txt", "png", "a.png/b", "a.png.txt", "", "test/._a.png", ".png", "a.tiff"};
    for (size_t i = 0; i < MFFA_COUNT(yes); i++) assert_true(mffa_decode_is_image_key(yes[i]));
    for (size_t i = 0; i < MFFA_COUNT(no); i++) assert_false(mffa_decode_is_image_key(no[i]));
}

int main(void) {
    mffa_err err = {0};
    if (mffa_safetensors_open(MFFA_TEST_GOLDEN "/image/expected.safetensors", &expected, &err)) return fprintf(stderr, "%s\n", err.msg), 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_kind_of_file),
        cmocka_unit_test(decodes_masks_from_every_kind_of_file),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(refuses_too_many_bytes_or_pixels),
        cmocka_unit_test(refuses_bombs_from_their_headers),
        cmocka_unit_test(refuses_variants_of_bmp_by_name),
        cmocka_unit_test(tells_image_keys_from_others),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mffa_safetensors_close(expected);
    return failed;
}

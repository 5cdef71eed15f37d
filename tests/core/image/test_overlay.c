#include "core/image/overlay.h"

#include <math.h>
#include "tests/support/test.h"

enum { W = 40, H = 24 };

static void make_photo(mffa_image *photo) {
    mffa_err err = {0};
    assert_ok(mffa_image_init(photo, W, H, 3, &err));
    for (int i = 0; i < W * H * 3; i++) photo->pixels[i] = (uint8_t)(i * 5);
}

static void normal_parts_are_the_photo_itself(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image photo = {0}, out = {0};
    make_photo(&photo);
    const float map[4] = {1, .5f, -3, NAN};
    assert_ok(mffa_overlay(&photo, map, 2, 1, 2, &out, &err));
    assert_int_equal(out.width_px, W);
    assert_int_equal(out.height_px, H);
    assert_memory_equal(out.pixels, photo.pixels, W * H * 3);
}

/* On black the result is strength times colour, so its lightness must grow with the map. */
static void more_anomaly_is_brighter_in_every_step(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image black = {0};
    assert_ok(mffa_image_init(&black, 1, 1, 3, &err));
    double before = -1;
    for (int i = 0; i <= 100; i++) {
        MFFA_AUTO(mffa_image_done) mffa_image out = {0};
        assert_ok(mffa_overlay(&black, &(float){(float)i}, 1, 0, 100, &out, &err));
        double light = .2126 * out.pixels[0] + .7152 * out.pixels[1] + .0722 * out.pixels[2];
        assert_true(light >= before - .5); /* half a level: rounding */
        before = light;
    }
    assert_true(before > 165);
}

static void a_defect_glows_where_the_map_says(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image photo = {0}, out = {0};
    make_photo(&photo);
    const float map[16] = {[5] = 9}; /* the second of four in both directions */
    assert_ok(mffa_overlay(&photo, map, 4, 0, 5, &out, &err));
    const uint8_t *hot = out.pixels + 3 * (9 * W + 15), *under = photo.pixels + 3 * (9 * W + 15);
    static const uint8_t pale_yellow[3] = {252, 255, 164};
    for (int c = 0; c < 3; c++) assert_true(fabs(hot[c] - (.7 * pale_yellow[c] + .3 * under[c])) <= 2);
    assert_memory_equal(out.pixels + 3 * (20 * W), photo.pixels + 3 * (20 * W), W * 3);
}

static void refuses_a_scale_that_does_not_rise(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_image_done) mffa_image photo = {0}, out = {0};
    make_photo(&photo);
    const float map[1] = {0};
    assert_int_equal(mffa_overlay(&photo, map, 1, 2, 2, &out, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "a heat map's scale cannot go from 2 to 2: low must be less than high");
    assert_int_equal(mffa_overlay(&photo, map, 1, 2, NAN, &out, &err), MFFA_EINVAL);
    photo.channels = 1;
    assert_int_equal(mffa_overlay(&photo, map, 1, 0, 1, &out, &err), MFFA_EINVAL);
    assert_null(out.pixels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_parts_are_the_photo_itself),
        cmocka_unit_test(more_anomaly_is_brighter_in_every_step),
        cmocka_unit_test(a_defect_glows_where_the_map_says),
        cmocka_unit_test(refuses_a_scale_that_does_not_rise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

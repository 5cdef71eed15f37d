/* The colour range of heat maps, and their names. */
#include "worker/heatmaps.h"

#include "tests/support/test.h"

static void add(mffa_scores *s, const char *key, int label, float score) {
    mffa_err err = {0};
    assert_ok(mffa_scores_add(s, key, label == 1 ? "crack" : "good", NULL, label, &(mffa_score){.score = score}, &err));
}

static void a_normal_pictures_warm_spots_are_transparent_and_most_defects_reach_the_full_colour(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_scores_done) mffa_scores s = {0};
    mffa_heat_range r = {0};
    float typical[7] = {10, 12, 11, 20, 20, 20, 20};
    for (int i = 0; i < 3; i++) add(&s, "n", 0, 20);
    const float defects[] = {100, 60, 80, 120};
    for (int i = 0; i < 4; i++) add(&s, "d", 1, defects[i]);
    assert_ok(mffa_heat_range_of(&s, typical, &r, &err));
    assert_float_equal(r.low, 11, 0);
    assert_float_equal(r.high, 80, 0); /* nearest rank of the lower quartile of 60 80 100 120 */
    s.threshold = (mffa_figure){.known = true, .value = 111};
    assert_ok(mffa_heat_range_of(&s, typical, &r, &err));
    assert_float_equal(r.high, 11 + 1.3 * 100, 1e-9);
}

static void a_range_exists_when_all_maps_are_the_same(void **state) {
    (void)state;
    mffa_err err = {0};
    for (int label = -1; label <= 1; label++) {
        MFFA_AUTO(mffa_scores_done) mffa_scores s = {0};
        mffa_heat_range r = {0};
        float typical[2] = {0, 0};
        add(&s, "a", label, 0), add(&s, "b", label, 0);
        assert_ok(mffa_heat_range_of(&s, typical, &r, &err));
        assert_true((float)r.low < (float)r.high);
    }
}

static void the_typical_value_lies_above_99_of_100_pixels(void **state) {
    (void)state;
    mffa_err err = {0};
    float map[100 * 100], typical = 0;
    for (int i = 0; i < 100 * 100; i++) map[(i * 7919) % 10000] = (float)i; /* a permutation of 0..9999 */
    assert_ok(mffa_heat_typical(map, 100, &typical, &err));
    assert_in_range((int)typical, 9890, 9910);
}

static void heat_maps_are_named_like_their_pictures_without_two_being_the_same(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_scores_done) mffa_scores s = {0};
    mffa_heatmaps h = {.overlay = true, .grey = true};
    add(&s, "test/crack/1.JPG", 1, 1), add(&s, "test/crack/2.bmp", 1, 1), add(&s, "test/crack/2.png", 1, 1), add(&s, "a.b/noend", 1, 1);
    assert_ok(mffa_heatmaps_name(&h, &s, &err));
    assert_string_equal(s.items[0].heatmap, "heatmaps/test/crack/1.png");
    assert_string_equal(s.items[0].grey, "greymaps/test/crack/1.png");
    assert_string_equal(s.items[1].heatmap, "heatmaps/test/crack/2.bmp.png");
    assert_string_equal(s.items[2].heatmap, "heatmaps/test/crack/2.png.png");
    assert_string_equal(s.items[3].heatmap, "heatmaps/a.b/noend.png");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_normal_pictures_warm_spots_are_transparent_and_most_defects_reach_the_full_colour),
        cmocka_unit_test(a_range_exists_when_all_maps_are_the_same),
        cmocka_unit_test(the_typical_value_lies_above_99_of_100_pixels),
        cmocka_unit_test(heat_maps_are_named_like_their_pictures_without_two_being_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

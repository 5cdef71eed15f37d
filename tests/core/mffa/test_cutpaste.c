/* Pseudo-defects: what is drawn follows the ranges of the header, what is applied is the picture's own pixels. The colours' reference is
 * torchvision (tests/golden/make_psg.py). */
#include "core/mffa/cutpaste.h"

#include <math.h>
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

enum { DRAWS = 20000, FINE = 1 << 14 /* a side at which rounding to pixels does not show */, SIDE = 96, PIXELS = SIDE * SIDE };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov against the uniform distribution on [low, high]: at this seed and number of draws, .1 % of true ones would fail. */
static void uniform(const char *what, double *v, double low, double high) {
    double most = 0;
    qsort(v, DRAWS, sizeof *v, by_value);
    for (int i = 0; i < DRAWS; i++) {
        double expected = (v[i] - low) / (high - low);
        most = fmax(most, fmax(fabs(expected - (double)i / DRAWS), fabs(expected - (i + 1.0) / DRAWS)));
    }
    if (most > 1.95 / sqrt(DRAWS))
        fail_msg("%s is %.4f away from uniform in [%g, %g], allowed are %.4f", what, most, low, high, 1.95 / sqrt(DRAWS));
}

static void uncorrelated(const char *what, const double *a, const double *b) {
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < DRAWS; i++) ma += a[i] / DRAWS, mb += b[i] / DRAWS;
    for (int i = 0; i < DRAWS; i++) ab += (a[i] - ma) * (b[i] - mb), aa += (a[i] - ma) * (a[i] - ma), bb += (b[i] - mb) * (b[i] - mb);
    if (fabs(ab / sqrt(aa * bb)) > 3.3 / sqrt(DRAWS)) fail_msg("%s correlate by %.4f", what, ab / sqrt(aa * bb));
}

static mffa_cutpaste drawn[DRAWS];

static void draw_all(mffa_cutpaste (*draw)(mffa_rng *, int), int side) {
    for (uint64_t i = 0; i < DRAWS; i++) {
        mffa_rng r;
        mffa_rng_init(&r, 99, i);
        drawn[i] = draw(&r, side);
    }
}

#define COLUMN(name, expression)                                                                                                     \
    static double name[DRAWS];                                                                                                       \
    for (int i = 0; i < DRAWS; i++) {                                                                                                \
        const mffa_cutpaste *c = &drawn[i];                                                                                          \
        name[i] = (expression);                                                                                                      \
    }

static void places_and_colours_are_uniform(void) {
    COLUMN(from_x, c->from_x / (double)(FINE - c->width))
    COLUMN(from_y, c->from_y / (double)(FINE - c->height))
    COLUMN(to_x, c->to_x / (double)(FINE - c->box_width))
    COLUMN(to_y, c->to_y / (double)(FINE - c->box_height))
    uncorrelated("places of cutting and pasting, x", from_x, to_x);
    uncorrelated("places of cutting and pasting, y", from_y, to_y);
    uncorrelated("x and y of pasting", to_x, to_y);
    uniform("from x", from_x, 0, 1);
    uniform("from y", from_y, 0, 1);
    uniform("to x", to_x, 0, 1);
    uniform("to y", to_y, 0, 1);
    for (int k = 0; k < MFFA_JITTER_STEPS; k++) {
        COLUMN(amount, c->jitter.amount[k])
        uniform("jitter", amount, k == MFFA_JITTER_HUE ? -.1 : .9, k == MFFA_JITTER_HUE ? .1 : 1.1);
    }
    int orders[256] = {0};
    for (int i = 0; i < DRAWS; i++) {
        const int64_t *o = drawn[i].jitter.order;
        orders[o[0] << 6 | o[1] << 4 | o[2] << 2 | o[3]]++;
        assert_int_equal(1 << o[0] | 1 << o[1] | 1 << o[2] | 1 << o[3], 15);
    }
    for (int i = 0, seen = 0; i < 256; i++) {
        seen += orders[i] > 0;
        if (orders[i] && fabs(orders[i] - DRAWS / 24.0) > 4 * sqrt(DRAWS / 24.0))
            fail_msg("an order was drawn %d times of %d", orders[i], DRAWS);
        if (i == 255) assert_int_equal(seen, 24);
    }
}

static void cutpaste_is_drawn_from_its_ranges(void **state) {
    (void)state;
    draw_all(mffa_cutpaste_draw, FINE);
    COLUMN(area, (double)c->width * c->height / FINE / FINE)
    COLUMN(aspect, log((double)c->width / c->height))
    uncorrelated("area and aspect", area, aspect);
    uniform("area", area, .02, .15);
    uniform("log of the aspect", aspect, log(.3), log(1 / .3));
    for (int i = 0; i < DRAWS; i++) {
        assert_true(drawn[i].angle == 0);
        assert_int_equal(drawn[i].box_width, drawn[i].width);
        assert_int_equal(drawn[i].box_height, drawn[i].height);
    }
    places_and_colours_are_uniform();
}

static void scars_are_drawn_from_their_ranges(void **state) {
    (void)state;
    draw_all(mffa_scar_draw, FINE);
    COLUMN(width, c->width * 256.0 / FINE)
    COLUMN(height, c->height * 256.0 / FINE)
    COLUMN(angle, c->angle)
    uncorrelated("width and height", width, height);
    uncorrelated("width and angle", width, angle);
    uniform("width", width, 2, 16);
    uniform("height", height, 10, 25);
    uniform("angle", angle, -45, 45);
    places_and_colours_are_uniform();
}

static void inside(int at, int size, int side) { assert_true(size >= 1 && at >= 0 && at + size <= side); }

static void everything_lies_inside_at_every_side(void **state) {
    (void)state;
    static const int sides[] = {16, 64, 96, 256, 1024};
    for (size_t k = 0; k < MFFA_COUNT(sides); k++)
        for (int scar = 0; scar < 2; scar++) {
            int side = sides[k];
            draw_all(scar ? mffa_scar_draw : mffa_cutpaste_draw, side);
            for (int i = 0; i < DRAWS; i++) {
                const mffa_cutpaste *c = &drawn[i];
                inside(c->from_x, c->width, side), inside(c->from_y, c->height, side);
                inside(c->to_x, c->box_width, side), inside(c->to_y, c->box_height, side);
                if (scar) assert_in_range(c->height, fmax(1, 10 * side / 256 - 1), 25 * side / 256 + 1);
                else assert_true(fabs(c->width * (double)c->height / side / side - .085) < .065 + 1.5 / side);
            }
        }
}

/* ---- applying ---- */

static float image[3 * PIXELS], out[3 * PIXELS], again[3 * PIXELS];
static const mffa_jitter neutral = {{1, 1, 1, 0}, {0, 1, 2, 3}};

static void fill_random(void) {
    mffa_rng r;
    mffa_rng_init(&r, 3, 0);
    for (int i = 0; i < 3 * PIXELS; i++) image[i] = (float)mffa_rng_unit(&r);
}

static bool in_box(const mffa_cutpaste *c, int x, int y) {
    return x >= c->to_x && x < c->to_x + c->box_width && y >= c->to_y && y < c->to_y + c->box_height;
}

static void a_patch_is_the_pictures_own(void **state) {
    (void)state;
    mffa_err err = {0};
    fill_random();
    for (uint64_t seed = 0; seed < 50; seed++) {
        mffa_rng r;
        mffa_rng_init(&r, seed, 0);
        mffa_cutpaste c = mffa_cutpaste_draw(&r, SIDE);
        c.jitter = neutral;
        assert_ok(mffa_cutpaste_apply(&c, image, SIDE, out, &err));
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < c.height; y++)
                for (int x = 0; x < c.width; x++)
                    assert_float_equal(out[p * PIXELS + (c.to_y + y) * SIDE + c.to_x + x],
                                       image[p * PIXELS + (c.from_y + y) * SIDE + c.from_x + x], 1e-6);
    }
}

static void pixels_outside_the_patch_stay(void **state) {
    (void)state;
    mffa_err err = {0};
    fill_random();
    for (uint64_t seed = 0; seed < 100; seed++) {
        mffa_rng r;
        mffa_rng_init(&r, seed, 1);
        mffa_cutpaste c = seed % 2 ? mffa_scar_draw(&r, SIDE) : mffa_cutpaste_draw(&r, SIDE);
        int changed = 0;
        assert_ok(mffa_cutpaste_apply(&c, image, SIDE, out, &err));
        for (int i = 0; i < 3 * PIXELS; i++) {
            if (!in_box(&c, i % SIDE, i % PIXELS / SIDE)) assert_memory_equal(&out[i], &image[i], sizeof *out);
            assert_true(out[i] >= 0 && out[i] <= 1);
            changed +=
                i < PIXELS && (out[i] != image[i] || out[i + PIXELS] != image[i + PIXELS] || out[i + 2 * PIXELS] != image[i + 2 * PIXELS]);
        }
        /* the turned patch covers its area of pixels, but for its rim */
        if (abs(changed - c.width * c.height) > (c.angle == 0 ? 0 : c.width + c.height))
            fail_msg("%d x %d changed %d pixels", c.width, c.height, changed);
    }
}

/* In a picture whose colours are its coordinates, a pixel says where it comes from. */
static void a_scar_is_turned_by_its_angle(void **state) {
    (void)state;
    mffa_err err = {0};
    for (int i = 0; i < PIXELS; i++) {
        image[i] = (float)(i % SIDE) / SIDE;
        image[PIXELS + i] = (float)(i / SIDE) / SIDE;
        image[2 * PIXELS + i] = .5f;
    }
    static const double angles[] = {-45, -20, 0, 30, 45};
    for (size_t k = 0; k < MFFA_COUNT(angles); k++) {
        double turn = angles[k] * M_PI / 180;
        mffa_cutpaste c = {.width = 10,
                           .height = 24,
                           .from_x = 50,
                           .from_y = 60,
                           .angle = angles[k],
                           .box_width = 29,
                           .box_height = 29,
                           .to_x = 5,
                           .to_y = 9,
                           .jitter = neutral};
        assert_ok(mffa_cutpaste_apply(&c, image, SIDE, out, &err));
        for (int i = -4; i <= 4; i++) /* along and across the scar, from the box's centre pixel */
            for (int j = -11; j <= 11; j++) {
                int x = c.to_x + 14 + (int)lround(cos(turn) * i - sin(turn) * j),
                    y = c.to_y + 14 + (int)lround(sin(turn) * i + cos(turn) * j);
                double from_x = out[y * SIDE + x] * SIDE, from_y = out[PIXELS + y * SIDE + x] * SIDE;
                assert_true(fabs(from_x - (54.5 + i)) <= .75 && fabs(from_y - (71.5 + j)) <= .75);
            }
    }
}

static void the_same_draw_gives_the_same_picture(void **state) {
    (void)state;
    mffa_err err = {0};
    fill_random();
    for (int scar = 0; scar < 2; scar++) {
        mffa_cutpaste (*draw)(mffa_rng *, int) = scar ? mffa_scar_draw : mffa_cutpaste_draw;
        mffa_cutpaste c[3];
        for (uint64_t i = 0; i < 3; i++) {
            mffa_rng r;
            mffa_rng_init(&r, 5, i / 2);
            c[i] = draw(&r, SIDE);
        }
        assert_memory_equal(&c[0], &c[1], sizeof c[0]);
        assert_memory_not_equal(&c[0], &c[2], sizeof c[0]);
        assert_ok(mffa_cutpaste_apply(&c[0], image, SIDE, out, &err));
        assert_ok(mffa_cutpaste_apply(&c[1], image, SIDE, again, &err));
        assert_memory_equal(out, again, sizeof out);
    }
}

static void colours_change_as_torchvision_changes_them(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_safetensors *f = NULL;
    assert_ok(mffa_safetensors_open(MFFA_TEST_GOLDEN "/mffa/psg.safetensors", &f, &err));
    const mffa_st_tensor *from = mffa_safetensors_find(f, "jitter.image"), *to = mffa_safetensors_find(f, "jitter.results");
    const mffa_st_tensor *amounts = mffa_safetensors_find(f, "jitter.amounts"), *orders = mffa_safetensors_find(f, "jitter.orders");
    assert_true(from && to && amounts && orders && from->count <= 3 * PIXELS);
    double most = 0;
    for (int64_t k = 0; k < to->shape[0]; k++) {
        mffa_jitter j;
        float want;
        memcpy(j.amount, (const char *)amounts->data + (size_t)k * sizeof j.amount, sizeof j.amount);
        memcpy(j.order, (const char *)orders->data + (size_t)k * sizeof j.order, sizeof j.order);
        memcpy(out, from->data, from->bytes);
        mffa_jitter_apply(&j, out, from->count / 3);
        for (int64_t i = 0; i < from->count; i++) {
            memcpy(&want, (const char *)to->data + (size_t)(k * from->count + i) * sizeof want, sizeof want);
            most = fmax(most, fabs(want - (double)out[i]));
        }
    }
    if (most > 2e-6) fail_msg("colours are off by %g, at most 2e-6 is allowed", most);
    mffa_safetensors_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutpaste_is_drawn_from_its_ranges),
        cmocka_unit_test(scars_are_drawn_from_their_ranges),
        cmocka_unit_test(everything_lies_inside_at_every_side),
        cmocka_unit_test(a_patch_is_the_pictures_own),
        cmocka_unit_test(pixels_outside_the_patch_stay),
        cmocka_unit_test(a_scar_is_turned_by_its_angle),
        cmocka_unit_test(the_same_draw_gives_the_same_picture),
        cmocka_unit_test(colours_change_as_torchvision_changes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "core/mffa/cutpaste.h"

#include <math.h>
#include <string.h>
#include "core/base/buf.h"

static const double strength = .1; /* of the jitter */

static int whole(double size) { return size < 1.5 ? 1 : (int)(size + .5); }

static int place(mffa_rng *r, int side, int size) { return (int)mffa_rng_below(r, (uint64_t)(side - size + 1)); }

static void draw_source(mffa_cutpaste *c, mffa_rng *r, int side) {
    c->from_x = place(r, side, c->width);
    c->from_y = place(r, side, c->height);
}

/* The box around the turned patch, its place, the jitter. */
static void draw_target(mffa_cutpaste *c, mffa_rng *r, int side) {
    double turn = c->angle * M_PI / 180, cosine = fabs(cos(turn)), sine = fabs(sin(turn));
    c->box_width = (int)ceil(c->width * cosine + c->height * sine);
    c->box_height = (int)ceil(c->width * sine + c->height * cosine);
    c->to_x = place(r, side, c->box_width);
    c->to_y = place(r, side, c->box_height);
    c->jitter = mffa_jitter_draw(r, strength);
}

mffa_cutpaste mffa_cutpaste_draw(mffa_rng *r, int side) {
    mffa_cutpaste c = {0};
    double area = mffa_rng_uniform(r, .02, .15) * side * side, aspect = exp(mffa_rng_uniform(r, log(.3), -log(.3)));
    c.width = whole(sqrt(area * aspect));
    c.height = whole(sqrt(area / aspect));
    draw_source(&c, r, side);
    draw_target(&c, r, side);
    return c;
}

mffa_cutpaste mffa_scar_draw(mffa_rng *r, int side) {
    mffa_cutpaste c = {0};
    c.width = whole(mffa_rng_uniform(r, 2, 16) * side / 256);
    c.height = whole(mffa_rng_uniform(r, 10, 25) * side / 256);
    draw_source(&c, r, side);
    c.angle = mffa_rng_uniform(r, -45, 45);
    draw_target(&c, r, side);
    return c;
}

static void cut(const mffa_cutpaste *c, const float *image, int side, float *patch) {
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < c->height; y++, patch += c->width)
            memcpy(patch, image + ((size_t)plane * side + c->from_y + y) * side + c->from_x, (size_t)c->width * sizeof *patch);
}

/* Where a coordinate in 0..size falls between the centres of size pixels: the first pixel and the second one's weight. */
static int between(double at, int size, double *weight) {
    double centre = fmin(fmax(at - .5, 0), size - 1);
    int first = centre < size - 1 ? (int)centre : size > 1 ? size - 2 : 0;
    *weight = centre - first;
    return first;
}

static float sample(const float *plane, int width, int height, double x, double y) {
    double right, down;
    int left = between(x, width, &right), top = between(y, height, &down);
    const float *a = plane + (size_t)top * width + left, *b = height > 1 ? a + width : a;
    int next = width > 1;
    return (float)((1 - down) * ((1 - right) * a[0] + right * a[next]) + down * ((1 - right) * b[0] + right * b[next]));
}

static void paste(const mffa_cutpaste *c, const float *patch, int side, float *out) {
    double turn = c->angle * M_PI / 180, cosine = cos(turn), sine = sin(turn);
    for (int y = 0; y < c->box_height; y++)
        for (int x = 0; x < c->box_width; x++) {
            double dx = x + .5 - c->box_width / 2.0, dy = y + .5 - c->box_height / 2.0; /* from the box's centre, then turned back */
            double u = cosine * dx + sine * dy + c->width / 2.0, v = cosine * dy - sine * dx + c->height / 2.0;
            if (u < 0 || u >= c->width || v < 0 || v >= c->height) continue;
            for (int plane = 0; plane < 3; plane++)
                out[((size_t)plane * side + c->to_y + y) * side + c->to_x + x] =
                    sample(patch + (size_t)plane * c->width * c->height, c->width, c->height, u, v);
        }
}

mffa_code mffa_cutpaste_apply(const mffa_cutpaste *c, const float *image, int side, float *out, mffa_err *err) {
    int64_t pixels = (int64_t)c->width * c->height;
    MFFA_AUTO(mffa_free_p) float *patch = mffa_alloc_array((size_t)pixels, 3 * sizeof *patch);
    if (!patch) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a patch of %d x %d pixels", c->width, c->height);
    cut(c, image, side, patch);
    mffa_jitter_apply(&c->jitter, patch, pixels);
    memcpy(out, image, (size_t)side * side * 3 * sizeof *out);
    paste(c, patch, side, out);
    return MFFA_OK;
}

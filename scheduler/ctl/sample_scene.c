#include "scheduler/ctl/sample_scene.h"

#include <math.h>
#include "core/base/rng.h"

enum { THREADS = 64, SPECKS = 6, WAVES = 3 };

typedef struct rgb {
    float r, g, b;
} rgb;

/* A round spot with a wavy edge. */
typedef struct blob {
    float x, y, radius, wave[WAVES], phase[WAVES];
    rgb colour;
} blob;

/* All lengths in units of the picture's side, positions from the disc's centre along its threads. */
typedef struct defect {
    mffa_sample_defect kind;
    blob spots[SPECKS];
    int spot_count;
    float x, y, cos, sin, length, width, bend; /* scratch: a bent line through (x, y) */
    int thread;                                /* missing_thread: this weft thread and the next, from..to */
    float from, to;
} defect;

typedef struct scene {
    float x, y, cos, sin, radius; /* the disc: centre in the picture, turn, size */
    float warp[THREADS], weft[THREADS];
    float light, tilt_x, tilt_y; /* brightness, and its slope over the picture */
    float grain_phase;
} scene;

static const float period = 10.f / 256; /* of the threads: about four at the size of one layer-2 feature */
static const rgb warp_colour = {98, 116, 144}, weft_colour = {164, 160, 148}, gap_colour = {34, 36, 42};

const char *mffa_sample_defect_name(mffa_sample_defect d) {
    static const char *const names[] = {
#define X(name, folder) folder,
        MFFA_SAMPLE_DEFECTS(X)
#undef X
        "good"};
    return names[d];
}

static float draw(mffa_rng *r, double low, double high) { return (float)mffa_rng_uniform(r, low, high); }

static float step(float low, float high, float x) { /* smooth, from 0 at low to 1 at high */
    float t = (x - low) / (high - low);
    return t <= 0 ? 0 : t >= 1 ? 1 : t * t * (3 - 2 * t);
}

static rgb mix(rgb a, rgb b, float share) {
    return (rgb){a.r + (b.r - a.r) * share, a.g + (b.g - a.g) * share, a.b + (b.b - a.b) * share};
}

static rgb times(rgb a, float f) { return (rgb){a.r * f, a.g * f, a.b * f}; }

static scene draw_scene(mffa_rng *r) {
    float turn = draw(r, -.03, .03);
    scene s = {
        .x = .5f + draw(r, -.01, .01), .y = .5f + draw(r, -.01, .01), .cos = cosf(turn), .sin = sinf(turn), .radius = draw(r, .4, .408)};
    for (int i = 0; i < THREADS; i++) s.warp[i] = 1 + .035f * (float)mffa_rng_normal(r), s.weft[i] = 1 + .035f * (float)mffa_rng_normal(r);
    s.light = draw(r, .96, 1.04), s.tilt_x = draw(r, -.05, .05), s.tilt_y = draw(r, -.05, .05);
    s.grain_phase = draw(r, 0, 6.28);
    return s;
}

static blob draw_blob(mffa_rng *r, float x, float y, double least, double most, rgb colour) {
    blob b = {.x = x, .y = y, .radius = draw(r, least, most), .colour = colour};
    for (int i = 0; i < WAVES; i++) b.wave[i] = draw(r, .05, .2) / (float)(i + 1), b.phase[i] = draw(r, 0, 6.28);
    return b;
}

static void draw_specks(mffa_rng *r, defect *d) {
    static const rgb colours[] = {{30, 140, 50}, {200, 30, 30}, {240, 130, 20}, {245, 245, 250}};
    rgb colour = colours[mffa_rng_below(r, MFFA_COUNT(colours))];
    d->spot_count = 3 + (int)mffa_rng_below(r, SPECKS - 2);
    for (int i = 0; i < d->spot_count; i++)
        d->spots[i] = draw_blob(r, d->x + draw(r, -.04, .04), d->y + draw(r, -.04, .04), .014, .024, colour);
}

static defect draw_defect(mffa_rng *r, mffa_sample_defect kind) {
    float angle = draw(r, 0, 6.28), distance = .27f * sqrtf(draw(r, 0, 1)), direction = draw(r, 0, 3.14);
    defect d = {.kind = kind, .x = distance * cosf(angle), .y = distance * sinf(angle), .cos = cosf(direction), .sin = sinf(direction)};
    d.length = draw(r, .06, .11), d.width = draw(r, .006, .010), d.bend = draw(r, -2, 2);
    d.thread = (int)floorf(d.y / period), d.from = d.x - draw(r, .05, .09), d.to = d.x + draw(r, .05, .09);
    if (kind == MFFA_SAMPLE_STAIN) d.spots[d.spot_count++] = draw_blob(r, d.x, d.y, .045, .080, (rgb){.58f, .42f, .28f});
    if (kind == MFFA_SAMPLE_HOLE) d.spots[d.spot_count++] = draw_blob(r, d.x, d.y, .028, .045, (rgb){30, 30, 33});
    if (kind == MFFA_SAMPLE_CONTAMINATION) draw_specks(r, &d);
    return d;
}

/* How much of the spot covers (x, y): 1 inside, 0 outside, a soft edge of that share of its radius. */
static float cover(const blob *b, float x, float y, float edge) {
    float dx = x - b->x, dy = y - b->y, distance = hypotf(dx, dy), radius = b->radius, angle = atan2f(dy, dx);
    if (distance > 2 * radius) return 0;
    for (int i = 0; i < WAVES; i++) radius += b->radius * b->wave[i] * sinf((float)(i + 2) * angle + b->phase[i]);
    return 1 - step(radius * (1 - edge), radius, distance);
}

/* The table: brushed metal. */
static rgb table(const scene *s, float px, float py) {
    float grain = sinf(py * 210 + s->grain_phase) * .5f + sinf(py * 523 + 3 * s->grain_phase + .6f * sinf(px * 7)) * .5f;
    return times((rgb){72, 74, 78}, 1 + .05f * grain);
}

/* Plain weave: where warp and weft cross, one lies on top, as on a chess board; each thread is rounded and dips under its neighbours. */
static rgb cloth(const scene *s, const defect *d, float u, float v) {
    int i = (int)floorf(u / period), j = (int)floorf(v / period);
    float across_u = u / period - (float)i - .5f, across_v = v / period - (float)j - .5f;
    float warp_round = 1 - 2.6f * across_u * across_u, weft_round = 1 - 2.6f * across_v * across_v;
    rgb warp = times(warp_colour, s->warp[i & (THREADS - 1)] * warp_round),
        weft = times(weft_colour, s->weft[j & (THREADS - 1)] * weft_round);
    if (d->kind == MFFA_SAMPLE_MISSING_THREAD && (j == d->thread || j == d->thread + 1) && u > d->from && u < d->to)
        return mix(gap_colour, warp, .75f * step(.42f, .30f, fabsf(across_u))); /* bare warp threads over the dark below */
    bool warp_on_top = ((i + j) & 1) != 0;
    float dip = warp_on_top ? fabsf(across_v) : fabsf(across_u), under = .35f * step(.30f, .5f, dip);
    return warp_on_top ? mix(warp, weft, under) : mix(weft, warp, under);
}

static rgb with_defect(const defect *d, float u, float v, rgb colour) {
    for (int i = 0; i < d->spot_count; i++) {
        const blob *b = &d->spots[i];
        float share = cover(b, u, v, d->kind == MFFA_SAMPLE_STAIN ? .35f : .15f);
        if (d->kind != MFFA_SAMPLE_STAIN) colour = mix(colour, b->colour, share);
        else colour = mix(colour, (rgb){colour.r * b->colour.r, colour.g * b->colour.g, colour.b * b->colour.b}, share);
    }
    if (d->kind != MFFA_SAMPLE_SCRATCH) return colour;
    float along = (u - d->x) * d->cos + (v - d->y) * d->sin, across = (v - d->y) * d->cos - (u - d->x) * d->sin - d->bend * along * along;
    if (fabsf(along) > d->length || fabsf(across) > d->width) return colour;
    return mix(colour, (rgb){236, 234, 228}, .85f * step(d->width, d->width * .4f, fabsf(across)));
}

/* Colour at the picture's position (px, py) of 0..1, before noise. */
static rgb look(const scene *s, const defect *d, float px, float py) {
    float dx = px - s->x, dy = py - s->y, u = dx * s->cos + dy * s->sin, v = dy * s->cos - dx * s->sin, distance = hypotf(u, v);
    rgb colour = table(s, px, py);
    float shadow = step(s->radius + .03f, s->radius, hypotf(dx - .006f, dy - .008f));
    colour = times(colour, 1 - .45f * shadow);
    if (distance < s->radius + .004f) {
        rgb on = cloth(s, d, u, v);
        float hem = step(s->radius - .030f, s->radius - .024f, distance);
        on = mix(on, times((rgb){120, 112, 100}, 1 + .12f * sinf(atan2f(v, u) * 90)), hem);
        on = with_defect(d, u, v, on);
        colour = mix(colour, on, step(s->radius + .003f, s->radius - .003f, distance));
    }
    return times(colour, s->light * (1 + s->tilt_x * (px - .5f) + s->tilt_y * (py - .5f)));
}

static uint8_t level(float value) { return (uint8_t)(value <= 0 ? 0 : value >= 255 ? 255 : value + .5f); }

/* The camera's noise: sum of two uniform bytes, about 2.5 levels wide. */
static float noise(uint32_t bits) { return ((float)(bits & 0xFF) + (float)(bits >> 8 & 0xFF) - 255) * (1 / 41.f); }

mffa_code mffa_sample_scene(uint64_t seed, uint64_t number, mffa_sample_defect d, int side_px, mffa_image *picture, mffa_image *mask,
                            mffa_err *err) {
    mffa_rng of_product, of_defect;
    mffa_rng_init(&of_product, seed, 2 * number);
    mffa_rng_init(&of_defect, seed, 2 * number + 1);
    MFFA_AUTO(mffa_image_done) mffa_image im = {0}, m = {0};
    mffa_code rc = mffa_image_init(&im, side_px, side_px, 3, err);
    if (!rc) rc = mffa_image_init(&m, side_px, side_px, 1, err);
    if (rc) return rc;
    const scene s = draw_scene(&of_product);
    const defect none = {.kind = MFFA_SAMPLE_NORMAL}, flaw = d == MFFA_SAMPLE_NORMAL ? none : draw_defect(&of_defect, d);
    for (int i = 0; i < side_px * side_px; i++) {
        float px = ((float)(i % side_px) + .5f) / (float)side_px, py = ((float)(i / side_px) + .5f) / (float)side_px;
        const rgb is = look(&s, &flaw, px, py), was = d == MFFA_SAMPLE_NORMAL ? is : look(&s, &none, px, py);
        uint32_t first = mffa_rng_u32(&of_product), second = mffa_rng_u32(&of_product);
        float nr = noise(first), ng = noise(first >> 16), nb = noise(second);
        uint8_t *to = im.pixels + 3 * (size_t)i;
        to[0] = level(is.r + nr), to[1] = level(is.g + ng), to[2] = level(is.b + nb);
        m.pixels[i] = to[0] != level(was.r + nr) || to[1] != level(was.g + ng) || to[2] != level(was.b + nb) ? 255 : 0;
    }
    *picture = im;
    im = (mffa_image){0};
    if (mask) *mask = m, m = (mffa_image){0};
    return MFFA_OK;
}

#include "core/mffa/jitter.h"

#include <math.h>

mffa_jitter mffa_jitter_draw(mffa_rng *r, double strength) {
    mffa_jitter j = {.order = {MFFA_JITTER_BRIGHTNESS, MFFA_JITTER_CONTRAST, MFFA_JITTER_SATURATION, MFFA_JITTER_HUE}};
    for (int i = 0; i < MFFA_JITTER_STEPS; i++) j.amount[i] = mffa_rng_uniform(r, -strength, strength) + (i != MFFA_JITTER_HUE);
    mffa_rng_shuffle(r, j.order, MFFA_JITTER_STEPS);
    return j;
}

static float unit(float x) { return fminf(fmaxf(x, 0), 1); }

static float grey(const float *rgb, int64_t count, int64_t i) {
    return .2989f * rgb[i] + .587f * rgb[count + i] + .114f * rgb[2 * count + i];
}

static void brighten(float *rgb, int64_t count, float factor) {
    for (int64_t i = 0; i < 3 * count; i++) rgb[i] = unit(factor * rgb[i]);
}

static void contrast(float *rgb, int64_t count, float factor) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += grey(rgb, count, i);
    float mean = (float)(sum / (double)count);
    for (int64_t i = 0; i < 3 * count; i++) rgb[i] = unit(factor * rgb[i] + (1 - factor) * mean);
}

static void saturate(float *rgb, int64_t count, float factor) {
    for (int64_t i = 0; i < count; i++) {
        float level = grey(rgb, count, i);
        for (int c = 0; c < 3; c++) rgb[c * count + i] = unit(factor * rgb[c * count + i] + (1 - factor) * level);
    }
}

/* Hue of a colour as part of the circle from red over green and blue, in 0..1. */
static float hue_of(float r, float g, float b, float most, float spread) {
    float to_r = (most - r) / spread, to_g = (most - g) / spread, to_b = (most - b) / spread;
    float sixth = most == r ? to_b - to_g : most == g ? 2 + to_r - to_b : 4 + to_g - to_r;
    return fmodf(sixth / 6 + 1, 1);
}

static void turn_hue(float *rgb, int64_t count, float by) {
    for (int64_t i = 0; i < count; i++) {
        float r = rgb[i], g = rgb[count + i], b = rgb[2 * count + i];
        float v = fmaxf(r, fmaxf(g, b)), spread = v - fminf(r, fminf(g, b));
        if (spread == 0) continue; /* grey has no hue */
        float turned = hue_of(r, g, b, v, spread) + by, h = 6 * (turned - floorf(turned)), s = spread / v, sector = floorf(h),
              f = h - sector;
        float p = unit(v * (1 - s)), q = unit(v * (1 - s * f)), t = unit(v * (1 - s * (1 - f)));
        const float colour[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
        for (int c = 0; c < 3; c++) rgb[c * count + i] = colour[(int)sector % 6][c];
    }
}

void mffa_jitter_apply(const mffa_jitter *j, float *rgb, int64_t count) {
    static void (*const steps[MFFA_JITTER_STEPS])(float *, int64_t, float) = {brighten, contrast, saturate, turn_hue};
    for (int i = 0; i < MFFA_JITTER_STEPS; i++) steps[j->order[i]](rgb, count, (float)j->amount[j->order[i]]);
}

#include "core/image/overlay.h"

#include "core/image/resize.h"

enum { STEPS = 256 };

typedef struct tint { /* what one level of anomaly does to a pixel: colour * strength / 256 + photo * (256 - strength) / 256 */
    uint32_t strength, colour[3];
} tint;

/* The upper three quarters of matplotlib's "inferno" (CC0), at equal steps: violet, red, orange, yellow, pale yellow. Lightness grows
 * along it, so the order also reads in grey and with any colour vision; its black end is left out, for it would darken the photo. */
static const uint8_t scale[][3] = {{86, 16, 110},  {137, 34, 106}, {187, 55, 84},  {227, 89, 50},
                                   {249, 140, 10}, {249, 201, 50}, {252, 255, 164}};

/* Strength rises like the smooth step, flat at both ends: what is normal shows the photo untouched, and no edge appears where colour
 * begins. It ends at seven tenths, so that the defect can still be seen under its colour. */
static void fill_tints(tint tints[STEPS]) {
    for (int i = 0; i < STEPS; i++) {
        float t = (float)i / (STEPS - 1), at = t * (float)(MFFA_COUNT(scale) - 1);
        size_t k = (size_t)at < MFFA_COUNT(scale) - 2 ? (size_t)at : MFFA_COUNT(scale) - 2;
        tints[i].strength = (uint32_t)(.7f * 256 * t * t * (3 - 2 * t) + .5f);
        for (int c = 0; c < 3; c++)
            tints[i].colour[c] = (uint32_t)((float)scale[k][c] + (at - (float)k) * (float)(scale[k + 1][c] - scale[k][c]) + .5f);
    }
}

static void blend_row(const tint tints[STEPS], const float *level, float low, float high, const uint8_t *from, int width, uint8_t *to) {
    float factor = (STEPS - 1) / (high - low);
    for (int x = 0; x < width; x++, from += 3, to += 3) {
        float t = (level[x] - low) * factor;
        const tint *k = &tints[t > 0 ? t < STEPS - 1 ? (int)(t + .5f) : STEPS - 1 : 0]; /* not a number: no colour */
        for (int c = 0; c < 3; c++) to[c] = (uint8_t)((k->colour[c] * k->strength + from[c] * (256 - k->strength) + 128) >> 8);
    }
}

mffa_code mffa_overlay(const mffa_image *photo, const float *map, int side, float low, float high, mffa_image *out, mffa_err *err) {
    if (photo->channels != 3) return mffa_fail(err, MFFA_EINVAL, "a heat map needs a photo of 3 channels, this has %d", photo->channels);
    if (!(low < high))
        return mffa_fail(err, MFFA_EINVAL, "a heat map's scale cannot go from %g to %g: low must be less than high", (double)low,
                         (double)high);
    size_t width = (size_t)photo->width_px, height = (size_t)photo->height_px;
    MFFA_AUTO(mffa_image_done) mffa_image image = {0};
    MFFA_AUTO(mffa_free_p) float *level = mffa_alloc_array(width * height, sizeof *level);
    if (!level) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a heat map of %zu x %zu pixels", width, height);
    mffa_code rc = mffa_image_init(&image, photo->width_px, photo->height_px, 3, err);
    if (rc) return rc;
    tint tints[STEPS];
    fill_tints(tints);
    mffa_resize_plane(map, side, side, level, photo->height_px, photo->width_px);
    for (size_t y = 0; y < height; y++)
        blend_row(tints, level + y * width, low, high, photo->pixels + y * width * 3, photo->width_px, image.pixels + y * width * 3);
    *out = image;
    image = (mffa_image){0};
    return MFFA_OK;
}

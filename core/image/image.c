#include "core/image/image.h"

#include <inttypes.h>

enum { MAX_SIDE_PX = 65535 };

mffa_code mffa_image_init(mffa_image *im, int width_px, int height_px, int channels, mffa_err *err) {
    if (width_px < 1 || height_px < 1 || width_px > MAX_SIDE_PX || height_px > MAX_SIDE_PX || (channels != 1 && channels != 3))
        return mffa_fail(err, MFFA_EINVAL, "no image has %d x %d pixels of %d channels: expected sides of 1 to %d and 1 or 3 channels",
                         width_px, height_px, channels, MAX_SIDE_PX);
    uint8_t *pixels = mffa_alloc_array((size_t)width_px * (size_t)height_px, (size_t)channels);
    if (!pixels) return mffa_fail(err, MFFA_ENOMEM, "out of memory for an image of %d x %d pixels", width_px, height_px);
    *im = (mffa_image){width_px, height_px, channels, pixels};
    return MFFA_OK;
}

void mffa_image_done(mffa_image *im) {
    if (!im) return;
    free(im->pixels);
    *im = (mffa_image){0};
}

mffa_code mffa_image_fits(const mffa_limits *limits, int64_t width_px, int64_t height_px, mffa_err *err) {
    if (width_px < 1 || height_px < 1 || width_px > MAX_SIDE_PX || height_px > MAX_SIDE_PX)
        return mffa_fail(err, MFFA_EINVAL, "its header says %" PRId64 " x %" PRId64 " pixels: expected sides of 1 to %d", width_px,
                         height_px, MAX_SIDE_PX);
    if (width_px * height_px > limits->max_pixels)
        return mffa_fail(err, MFFA_EINVAL,
                         "it has %" PRId64 " x %" PRId64 " = %" PRId64 " pixels, at most %" PRId64 " are allowed (MFFA_MAX_IMAGE_PIXELS)",
                         width_px, height_px, width_px * height_px, limits->max_pixels);
    return MFFA_OK;
}

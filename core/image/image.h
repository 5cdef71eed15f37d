/* Pixels in memory.
 * An image is 8-bit, row by row, without padding: channels 3 = RGB, 1 = grey (masks, maps). Owned by whoever holds the struct;
 * zero-initialise, mffa_image_done when finished. Plain data, no thread rules. */
#ifndef MFFA_CORE_IMAGE_IMAGE_H
#define MFFA_CORE_IMAGE_IMAGE_H

#include <stdint.h>
#include "core/base/buf.h"

typedef struct mffa_image {
    int width_px, height_px, channels;
    uint8_t *pixels; /* [height, width, channels] */
} mffa_image;

/* What a decoder may spend on one file; the caller's settings. */
typedef struct mffa_limits {
    int64_t max_bytes;  /* of the file */
    int64_t max_pixels; /* width * height, checked from the header before pixels are allocated */
} mffa_limits;

/* Black. width, height 1..65535, channels 1 or 3, else MFFA_EINVAL. MFFA_ENOMEM. */
MFFA_MUST_USE mffa_code mffa_image_init(mffa_image *im, int width_px, int height_px, int channels, mffa_err *err);
void mffa_image_done(mffa_image *im);
/* For decoders, before they allocate: are these sides, read from a header, within 1..65535 and the limits? MFFA_EINVAL says which not. */
MFFA_MUST_USE mffa_code mffa_image_fits(const mffa_limits *limits, int64_t width_px, int64_t height_px, mffa_err *err);

#endif

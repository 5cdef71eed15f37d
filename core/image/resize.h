/* Resampling.
 * rgb: bilinear with antialias (triangle filter widened when shrinking), align_corners false, as torchvision's resize of a float
 * tensor: design section 3. The rest says its rule below. Pixel centres at half integers throughout. */
#ifndef MFFA_CORE_IMAGE_RESIZE_H
#define MFFA_CORE_IMAGE_RESIZE_H

#include "core/image/image.h"

/* im (channels 3) -> out [3, side, side] float32, planes R, G, B in 0..1 (value / 255 first, then resized). Caller allocates. */
MFFA_MUST_USE mffa_code mffa_resize_rgb(const mffa_image *im, int side, float *out, mffa_err *err);
/* mask (channels 1) -> out [side, side], 1 = defect: nearest, source index floor(i * (in / out)) in float32, as
 * torch's "nearest". */
void mffa_resize_mask(const mffa_image *mask, int side, uint8_t *out);
/* Plane [h, w] -> [oh, ow] bilinear without antialias, align_corners false, edge repeated: maps to a photograph's own size. */
void mffa_resize_plane(const float *in, int h, int w, float *out, int oh, int ow);

#endif

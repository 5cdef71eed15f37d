/* PNG, over libpng. */
#ifndef MFFA_CORE_IMAGE_PNG_H
#define MFFA_CORE_IMAGE_PNG_H

#include "core/image/image.h"

/* Reading: see decode.h. The mask is made from the file's own depth: a 16-bit value of 1 is a defect, though it is 0 when scaled to 8. */
MFFA_MUST_USE mffa_code mffa_png_read(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_png_read_mask(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);
/* RGB or grey, 8 bit, appended to out; packed for speed rather than size. */
MFFA_MUST_USE mffa_code mffa_png_write(const mffa_image *im, mffa_buf *out, mffa_err *err);
/* Grey, 16 bit, values [height, width] in machine order. */
MFFA_MUST_USE mffa_code mffa_png_write_grey16(const uint16_t *values, int width_px, int height_px, mffa_buf *out, mffa_err *err);

#endif

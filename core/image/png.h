/* PNG, over libpng. */
#ifndef MFFA_CORE_IMAGE_PNG_H
#define MFFA_CORE_IMAGE_PNG_H

#include "core/image/image.h"

/* Reading: see decode.h. */
MFFA_MUST_USE mffa_code mffa_png_read(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);
/* RGB or grey, 8 bit, appended to out. */
MFFA_MUST_USE mffa_code mffa_png_write(const mffa_image *im, mffa_buf *out, mffa_err *err);
/* Grey, 16 bit, values [height, width] in machine order. */
MFFA_MUST_USE mffa_code mffa_png_write_grey16(const uint16_t *values, int width_px, int height_px, mffa_buf *out, mffa_err *err);

#endif

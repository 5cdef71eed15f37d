/* BMP as cameras and frame grabbers write it: 1, 4 and 8 bit with palette, 24 and 32 bit, uncompressed, bottom-up or top-down.
 * Reading only: see decode.h. Run-length, JPEG and 16-bit variants are refused by name. */
#ifndef MFFA_CORE_IMAGE_BMP_H
#define MFFA_CORE_IMAGE_BMP_H

#include "core/image/image.h"

MFFA_MUST_USE mffa_code mffa_bmp_read(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);

#endif

/* Decode a picture, whatever of the three formats it is (told by its first bytes, not by its name).
 * PNG 1-16 bit grey, RGB, palette, alpha, interlaced; JPEG baseline and progressive, grey and YCbCr; BMP 1, 4, 8, 24, 32 bit.
 * Alpha is dropped, grey is replicated, 16 bit is scaled (round(v / 257)), not truncated. CMYK and YCCK are refused.
 * Fails with MFFA_EINVAL and a text that says what is wrong (empty, truncated, too many pixels, CMYK, not an image); out untouched. */
#ifndef MFFA_CORE_IMAGE_DECODE_H
#define MFFA_CORE_IMAGE_DECODE_H

#include "core/image/image.h"

MFFA_MUST_USE mffa_code mffa_decode_rgb(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);
/* A mask: channels 1, 255 where any colour channel of the file is > 0, else 0. */
MFFA_MUST_USE mffa_code mffa_decode_mask(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);
/* Does the key end like an image file (.png .jpg .jpeg .bmp, either case)? Names that begin with a dot are never images: file managers
 * leave such companions beside pictures ("._003.png"). */
bool mffa_decode_is_image_key(const char *key);

#endif

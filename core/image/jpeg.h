/* JPEG, over libjpeg-turbo. Reading only: see decode.h. */
#ifndef MFFA_CORE_IMAGE_JPEG_H
#define MFFA_CORE_IMAGE_JPEG_H

#include "core/image/image.h"

/* Data that is damaged or cut short is an error, also where libjpeg would only warn and fill the rest with grey. */
MFFA_MUST_USE mffa_code mffa_jpeg_read(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);

#endif

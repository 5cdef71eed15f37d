/* Heat maps: a photograph with its anomaly map laid over it, at the photograph's own size. */
#ifndef MFFA_CORE_IMAGE_OVERLAY_H
#define MFFA_CORE_IMAGE_OVERLAY_H

#include "core/image/image.h"

/* photo (channels 3) blended with map [side, side] (resized to the photo). low is drawn as the photo itself, high as the full
 * colour; a perceptually ordered colour scale in between. low < high. out: channels 3, the photo's size. */
MFFA_MUST_USE mffa_code mffa_overlay(const mffa_image *photo, const float *map, int side, float low, float high, mffa_image *out, mffa_err *err);

#endif

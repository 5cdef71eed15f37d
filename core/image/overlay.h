/* Heat maps: a photograph with its anomaly map laid over it, at the photograph's own size. */
#ifndef MFFA_CORE_IMAGE_OVERLAY_H
#define MFFA_CORE_IMAGE_OVERLAY_H

#include "core/image/image.h"

/* photo (channels 3) blended with map [side, side] (resized to the photo). low and less is drawn as the photo itself, high and more as
 * pale yellow with three tenths of the photo showing through; violet, red and orange in between. out: channels 3, the photo's size.
 * MFFA_EINVAL unless low < high. */
MFFA_MUST_USE mffa_code mffa_overlay(const mffa_image *photo, const float *map, int side, float low, float high, mffa_image *out,
                                     mffa_err *err);

#endif

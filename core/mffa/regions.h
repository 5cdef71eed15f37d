/* Connected regions of a mask: 8-connected components by union-find, one pass and a flattening. */
#ifndef MFFA_CORE_MFFA_REGIONS_H
#define MFFA_CORE_MFFA_REGIONS_H

#include <stdint.h>

/* mask  [height, width], any non-zero value belongs to a region                       borrowed
 * sizes [height, width]: the number of pixels of the region that the pixel lies in, 0 outside of any   caller allocates
 * work  [height, width]                                                               caller allocates; contents lost
 * width * height at most 2^31 - 1. Returns the number of regions. */
int32_t mffa_regions(const uint8_t *mask, int width, int height, int32_t *sizes, int32_t *work);

#endif

/* Distances of gaussian.h on a device, for GPUs, as batched matrix products. On a CPU they give what gaussian.c gives, but for rounding,
 * and are slower. Tensors belong to the scope that they were made in. */
#ifndef MFFA_CORE_MFFA_GAUSSIAN_DEVICE_H
#define MFFA_CORE_MFFA_GAUSSIAN_DEVICE_H

#include "core/mffa/gaussian.h"

typedef struct mffa_gaussian_places { /* between packed and full matrices */
    mffa_tensor *place; /* I64 [d d]: where an entry of W lies in a packed row */
    mffa_tensor *lower; /* [d, d]: 1 on and below the diagonal, 0 above */
} mffa_gaussian_places;
mffa_gaussian_places mffa_gaussian_places_of(mffa_scope *s, int64_t channels);

typedef struct mffa_gaussian_tensors {
    mffa_tensor *mean, *scale, *factor; /* [P, d], [P, d, 1], [P, d (d + 1) / 2]: as in mffa_gaussian, the factor still packed integers */
    mffa_gaussian_places places;
} mffa_gaussian_tensors;
mffa_gaussian_tensors mffa_gaussian_upload(mffa_scope *s, const mffa_gaussian *g);
/* x [n, P, d] -> [n, P]. The factors are read once for all n; unpacked for some positions at a time, at most 256 MiB. */
mffa_tensor *mffa_gaussian_distance_on(mffa_scope *s, const mffa_gaussian_tensors *g, mffa_tensor *x);
/* Bytes of the device's memory: of an uploaded Gaussian, and beside it of distances of n vectors a position. */
int64_t mffa_gaussian_tensors_bytes(int64_t positions, int64_t channels);
int64_t mffa_gaussian_distance_on_bytes(int64_t n, int64_t positions, int64_t channels);

#endif

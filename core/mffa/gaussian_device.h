/* The Gaussian on a device, for GPUs: distances and sums of gaussian.h as batched matrix products. On a CPU they give what gaussian.c
 * gives, but for rounding, and are slower. Tensors belong to the scope that they were made in. */
#ifndef MFFA_CORE_MFFA_GAUSSIAN_DEVICE_H
#define MFFA_CORE_MFFA_GAUSSIAN_DEVICE_H

#include "core/mffa/gaussian.h"

typedef struct mffa_gaussian_tensors {
    mffa_tensor *mean, *scale, *factor; /* as in mffa_gaussian, the factor still packed integers */
    mffa_tensor *place;                 /* I64 [d d]: where an entry of W lies in a packed row */
    mffa_tensor *lower;                 /* [d, d]: 1 on and below the diagonal, 0 above */
} mffa_gaussian_tensors;
mffa_gaussian_tensors mffa_gaussian_upload(mffa_scope *s, const mffa_gaussian *g);
/* x [n, P, d] -> [n, P]. The factors are read once for all n; unpacked for some positions at a time, at most 256 MiB. */
mffa_tensor *mffa_gaussian_distance_on(mffa_scope *s, const mffa_gaussian_tensors *g, mffa_tensor *x);

/* Sums that grow on the device: full matrices, 4 P d d bytes of its memory. */
typedef struct mffa_gaussian_growing mffa_gaussian_growing;
MFFA_MUST_USE mffa_code mffa_gaussian_growing_open(const mffa_device *d, int64_t positions, int64_t channels, mffa_gaussian_growing **out,
                                                   mffa_err *err);
void mffa_gaussian_growing_close(mffa_gaussian_growing *g);
static inline void mffa_gaussian_growing_close_p(mffa_gaussian_growing **g) { mffa_gaussian_growing_close(*g); }
/* x [n, P, d] of any scope of the device. MFFA_EINVAL when a value is not finite. */
MFFA_MUST_USE mffa_code mffa_gaussian_growing_add(mffa_gaussian_growing *g, mffa_tensor *x, mffa_err *err);
/* What was added so far, as sums on the host that gaussian.h finishes. */
MFFA_MUST_USE mffa_code mffa_gaussian_growing_sums(const mffa_gaussian_growing *g, int threads, mffa_gaussian_sums **out, mffa_err *err);

#endif

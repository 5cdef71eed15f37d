/* The sums of gaussian.h on a device, for GPUs, and what a fit makes of them: the same figures but for rounding. */
#ifndef MFFA_CORE_MFFA_GAUSSIAN_GROWING_H
#define MFFA_CORE_MFFA_GAUSSIAN_GROWING_H

#include "core/mffa/gaussian_device.h"

/* Full matrices, 4 P d d bytes of the device's memory. */
typedef struct mffa_gaussian_growing mffa_gaussian_growing;
MFFA_MUST_USE mffa_code mffa_gaussian_growing_open(const mffa_device *d, int64_t positions, int64_t channels, mffa_gaussian_growing **out,
                                                   mffa_err *err);
void mffa_gaussian_growing_close(mffa_gaussian_growing *g);
static inline void mffa_gaussian_growing_close_p(mffa_gaussian_growing **g) { mffa_gaussian_growing_close(*g); }
/* x [n, P, d] of any scope of the device. MFFA_EINVAL when a value is not finite. */
MFFA_MUST_USE mffa_code mffa_gaussian_growing_add(mffa_gaussian_growing *g, mffa_tensor *x, mffa_err *err);
/* As mffa_gaussian_finish, of what was added so far: covariances are factored on the device, a few hundred MiB of them at a time. */
MFFA_MUST_USE mffa_code mffa_gaussian_growing_finish(const mffa_gaussian_growing *g, double lambda, bool keep_scatter, mffa_rng random,
                                                     const mffa_progress *progress, mffa_gaussian *out, mffa_err *err);
/* Bytes of the device's memory: of the sums, beside them of adding n pictures, and of finishing. */
int64_t mffa_gaussian_growing_bytes(int64_t positions, int64_t channels);
int64_t mffa_gaussian_growing_add_bytes(int64_t n, int64_t positions, int64_t channels);
int64_t mffa_gaussian_growing_finish_bytes(int64_t positions, int64_t channels);

#endif

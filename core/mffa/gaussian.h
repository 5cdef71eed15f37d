/* A Gaussian for each position (Defard et al., "PaDiM", 2021; design section 3): mean, covariance with 1/(N-1) plus lambda I, and the
 * Mahalanobis distance to it.
 *
 * Sums are taken in one pass over the pictures, in batches (Chan, Golub and LeVeque, 1979), so memory does not grow with N. Instead of
 * the covariance C = L L^T we keep W = L^-1, for which distance = |W (x - mean)|: lower triangle, 16-bit integers with one float32 scale a
 * row, at d = 570 25.4 % of full float32 matrices, mean and scales included. What that costs is measured when a fit ends, against double
 * arithmetic throughout, on 4 training vectors and 4 random ones at every position, and stated in worst_error. */
#ifndef MFFA_CORE_MFFA_GAUSSIAN_H
#define MFFA_CORE_MFFA_GAUSSIAN_H

#include <stdint.h>
#include "core/base/progress.h"
#include "core/base/rng.h"
#include "core/nn/tensor.h"

typedef struct mffa_gaussian { /* plain data; zero-initialise, mffa_gaussian_done when finished */
    int64_t positions, channels; /* P, d */
    int64_t images;              /* N */
    float *mean;                 /* [P, d] */
    int16_t *factor;             /* [P, d (d + 1) / 2]: rows of W, in units of scale */
    float *scale;                /* [P, d] */
    float *scatter;              /* [P, d (d + 1) / 2] sums of squares about the mean, packed lower triangle; NULL unless kept */
    double worst_error;          /* greatest relative error of the distance that was met when measured */
} mffa_gaussian;
void mffa_gaussian_done(mffa_gaussian *g);

/* While pictures come in. */
typedef struct mffa_gaussian_sums mffa_gaussian_sums;
MFFA_MUST_USE mffa_code mffa_gaussian_sums_open(int64_t positions, int64_t channels, int threads, mffa_gaussian_sums **out, mffa_err *err);
void mffa_gaussian_sums_close(mffa_gaussian_sums *s);
static inline void mffa_gaussian_sums_close_p(mffa_gaussian_sums **s) { mffa_gaussian_sums_close(*s); }
/* x [n, P, d] float32, finite (MFFA_EINVAL otherwise). */
MFFA_MUST_USE mffa_code mffa_gaussian_sums_add(mffa_gaussian_sums *s, const float *x, int64_t n, mffa_err *err);
/* Takes the sums over (*s becomes NULL, also on failure): their memory is used again unless the scatter is kept. random: for the
 * measurement of the error. Phase "gaussian", in positions. MFFA_EINVAL for fewer than 2 pictures. */
MFFA_MUST_USE mffa_code mffa_gaussian_finish(mffa_gaussian_sums **s, const mffa_device *device, double lambda, bool keep_scatter,
                                             mffa_rng random, const mffa_progress *progress, mffa_gaussian *out, mffa_err *err);

/* x [n, P, d] float32 -> out [n, P], Mahalanobis distances. The factors are read once for 8 pictures. */
MFFA_MUST_USE mffa_code mffa_gaussian_distance(const mffa_gaussian *g, const float *x, int64_t n, int threads, float *out, mffa_err *err);

/* Bytes of the sums, and at the peak of finish. */
int64_t mffa_gaussian_sums_bytes(int64_t positions, int64_t channels);
int64_t mffa_gaussian_finish_bytes(int64_t positions, int64_t channels, bool keep_scatter);

#endif

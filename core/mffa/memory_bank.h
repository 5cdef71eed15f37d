/* The memory bank: patches of normal pictures, and how far a patch is from the nearest of them (Roth et al., "Towards total recall in
 * industrial anomaly detection", CVPR 2022; design section 3). */
#ifndef MFFA_CORE_MFFA_MEMORY_BANK_H
#define MFFA_CORE_MFFA_MEMORY_BANK_H

#include "core/nn/resnet.h"

/* E = AvgPool3x3(concat(f2, up(f3))), a patch a row: [B, g2 * g2, C2 + C3] float32. */
mffa_tensor *mffa_bank_embed(mffa_scope *s, const mffa_stages *stages);

typedef struct mffa_bank { /* plain data; zero-initialise, mffa_bank_done when finished */
    int64_t rows, width;   /* m, C2 + C3 */
    float *features;       /* [m, width], in order of choice */
    int32_t *origin;       /* [m, 2]: training picture (its index in the source), patch */
    float *norms;          /* [m] squared lengths */
} mffa_bank;
/* width at least 1, rows from 1 to 2^31 - 1. */
MFFA_MUST_USE mffa_code mffa_bank_init(mffa_bank *b, int64_t rows, int64_t width, mffa_err *err);
void mffa_bank_done(mffa_bank *b);
void mffa_bank_seal(mffa_bank *b); /* after the features were filled in: makes the norms */

/* Euclidean distance of each of n patches [n, width] to its nearest row.
 * |x|^2 + |b|^2 - 2 x b on the device tells which rows may be nearest: those within the rounding bound of the least. These are measured by
 * differences in double, so cancellation picks no wrong neighbour and a patch that is in the bank gets exactly 0. Memory beyond the
 * arrays: at most 64 MiB. */
MFFA_MUST_USE mffa_code mffa_bank_nearest(const mffa_bank *b, const mffa_device *d, const float *x, int64_t n, float *out, mffa_err *err);
/* Bytes of that memory for n patches. */
int64_t mffa_bank_nearest_bytes(const mffa_bank *b, int64_t n);
/* The same search with everything on the scope's device, for GPUs: on a CPU it gives the same distances, more slowly. */
typedef struct mffa_bank_tensors { /* of the scope that they were uploaded in */
    mffa_tensor *features, *norms; /* [m, width], [m] */
    double longest;                /* greatest length of a row */
} mffa_bank_tensors;
mffa_bank_tensors mffa_bank_upload(mffa_scope *s, const mffa_bank *b);
/* Bytes of the device's memory: of an uploaded bank, and beside it of the search for n patches. */
int64_t mffa_bank_tensors_bytes(const mffa_bank *b);
int64_t mffa_bank_nearest_on_bytes(const mffa_bank *b, int64_t n);
/* x [n, width] -> [n] float32. */
mffa_tensor *mffa_bank_nearest_on(mffa_scope *s, const mffa_bank_tensors *b, mffa_tensor *x);

#endif

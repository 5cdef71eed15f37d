/* Dense linear algebra on host arrays: what the pipeline's C code needs beside the networks.
 * Arrays are row-major and contiguous, on the host, borrowed; results go to arrays of the caller. The work runs on the device given
 * (a CPU's threads; on a GPU libtorch's cuBLAS, the arrays copied there and back: what lives on a device is computed in tensors instead).
 * Always in the arrays' own type: the device's bf16 or tf32 never applies here. Fails: MFFA_EINVAL for sizes below 1 or products that
 * overflow, MFFA_ENOMEM, MFFA_EDEVICE. Outputs are untouched after MFFA_EINVAL. One thread per device at a time. */
#ifndef MFFA_CORE_NN_LINALG_H
#define MFFA_CORE_NN_LINALG_H

#include <stdint.h>
#include "core/nn/tensor.h"

/* out[m, n] = alpha * A[m, k] B[n, k]^T + beta * out. With beta 0 what was in out does not matter. Peak: nothing beyond the arrays. */
MFFA_MUST_USE mffa_code mffa_linalg_product_nt(const mffa_device *d, const float *a, int64_t m, const float *b, int64_t n, int64_t k,
                                               float alpha, float beta, float *out, mffa_err *err);
void mffa_linalg_row_norms(const float *x, int64_t rows, int64_t k, float *out); /* squared lengths, summed in double */

/* In place, batch of [k, k]: a becomes its lower Cholesky factor (upper part zero). MFFA_EINVAL names the first matrix that is not
 * positive definite. */
MFFA_MUST_USE mffa_code mffa_linalg_cholesky(const mffa_device *d, double *a, int64_t batch, int64_t k, mffa_err *err);
/* In place, batch of [k, k]: each lower triangular matrix becomes its inverse. */
MFFA_MUST_USE mffa_code mffa_linalg_tri_inverse(const mffa_device *d, double *lower, int64_t batch, int64_t k, mffa_err *err);

#endif

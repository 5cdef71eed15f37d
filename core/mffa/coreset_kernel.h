/* Steps of the greedy k-centre choice on a GPU, in CUDA C: coreset_device.c's, which has the rest.
 *
 * Exact by construction: a row's distance to a centre is the sum in double, in index order, that coreset.h defines. Squares are not
 * negative, so a sum that has reached the row's distance to the centres before need not be finished.
 * Why a kernel and not tensor operations: those would write each step's differences to memory and sum in another order. */
#ifndef MFFA_CORE_MFFA_CORESET_KERNEL_H
#define MFFA_CORE_MFFA_CORESET_KERNEL_H

#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { MFFA_CORESET_BLOCKS = 2048 };

typedef struct mffa_coreset_kernel { /* all on the current device */
    const float *columns; /* [128, n] projected rows, transposed: neighbouring threads read neighbouring values */
    int64_t n;
    double *bound;   /* [n] squared distance to the centres chosen so far; infinity before the first, -1 for a centre */
    int64_t *chosen; /* [m] */
    double *far;     /* [MFFA_CORESET_BLOCKS], and */
    int64_t *at;     /* the same: each block's farthest row */
} mffa_coreset_kernel;

/* Chooses chosen[from] .. chosen[to - 1], 1 <= from; chosen[from - 1] is known. Runs on the default stream and waits for it. 0, or CUDA's
 * error code. */
int mffa_coreset_kernel_steps(const mffa_coreset_kernel *k, int64_t from, int64_t to);
const char *mffa_coreset_kernel_error(int code);

#ifdef __cplusplus
}
#endif

#endif

/* The coreset on the network's device. */
#ifndef MFFA_CORE_MFFA_CORESET_DEVICE_H
#define MFFA_CORE_MFFA_CORESET_DEVICE_H

#include "core/mffa/coreset.h"
#include "core/nn/tensor.h"

/* mffa_coreset_choose, with the same arguments and, index for index, the same result: on a GPU by comparing every row with every centre
 * there (1032 bytes of its memory a row, for a moment), on the host where there is no GPU or its memory does not suffice. */
MFFA_MUST_USE mffa_code mffa_coreset_choose_on(const mffa_device *d, const float *rows, int64_t n, int64_t m, int64_t first,
                                               int64_t *chosen, const mffa_progress *progress, mffa_err *err);
/* Bytes of a GPU's memory for n rows. */
static inline int64_t mffa_coreset_on_bytes(int64_t n) { return n * (2 * 4 * MFFA_CORESET_WIDTH + 16); }

#endif

/* Greedy k-centre coreset (Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018;
 * design section 3): the first row by chance, then again and again the row that is farthest from all chosen ones.
 *
 * Exact, index for index: the distance of two rows is the sum in double, in index order, of the squared differences of their float32
 * entries; of equally far rows the lowest index is taken; a chosen row is not chosen again. What makes it fast changes no choice:
 *   - a row's distance to the centres it has been compared with bounds its distance to all of them from above, so a row is compared
 *     with the centres it has missed only when that bound reaches the farthest row known (most rows: rarely);
 *   - comparisons run in float32, whose error is bounded, and what lies within the bound of the maximum is decided in double.
 * Proof of the bound: a difference of two floats carries one rounding, its square another two, the sum of 128 terms that are not
 * negative at most 128, each at most 2^-24 relative: (1 + 2^-24)^131 - 1 < 7.9e-6. Squares that underflow lose at most 2^-149 each.
 * We take 1e-5 and 2e-43, which also covers the double sum's own rounding. */
#ifndef MFFA_CORE_MFFA_CORESET_H
#define MFFA_CORE_MFFA_CORESET_H

#include <stdint.h>
#include "core/base/progress.h"

enum { MFFA_CORESET_WIDTH = 128 }; /* of a projected row */

/* max(1, floor(ratio * n)); n >= 1, 0 < ratio <= 1. */
int64_t mffa_coreset_count(int64_t n, double ratio);

/* rows    [n, 128] float32                          borrowed
 * first   the row chosen by chance, 0..n-1
 * chosen  [m], 1 <= m <= n, in order of choice      caller allocates; contents undefined on failure
 * Memory beyond that: 9 bytes a row and 512 a centre. Phase "coreset", in centres.
 * Fails: MFFA_EINVAL for sizes out of range and for entries that are not finite or beyond 1e17 (their squares leave float32's
 * range); MFFA_ENOMEM; MFFA_ECANCELLED. */
MFFA_MUST_USE mffa_code mffa_coreset_choose(const float *rows, int64_t n, int64_t m, int64_t first, int64_t *chosen,
                                            const mffa_progress *progress, mffa_err *err);
/* MFFA_EINVAL for what mffa_coreset_choose would refuse. */
MFFA_MUST_USE mffa_code mffa_coreset_check(const float *rows, int64_t n, int64_t m, int64_t first, mffa_err *err);

#endif

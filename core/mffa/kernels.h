/* Inner loops that are worth a version for each kind of processor (AVX-512, AVX2, any). Fused multiply-add may be used: no result
 * depends on which version ran beyond float32's rounding, and on one machine it is always the same one. */
#ifndef MFFA_CORE_MFFA_KERNELS_H
#define MFFA_CORE_MFFA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { MFFA_PANEL = 32, MFFA_PANEL_ROWS = 4 };

/* Squared distances of 4 rows [128] to the 32 centres of a panel [128, 32] (entry by entry: centre c is column c). panel: 64-byte
 * aligned. */
void mffa_kernel_distances(const float *const rows[MFFA_PANEL_ROWS], const float *panel, float out[MFFA_PANEL_ROWS][MFFA_PANEL]);

/* Lower triangles are packed row by row: entry (i, j), j <= i, is at i (i + 1) / 2 + j. Vectors v[k] are spaced by `pitch` floats, a
 * multiple of 16 that is at least d; what is behind d is 0, and all of v is 0 afterwards. */
enum { MFFA_LANE = 16, MFFA_VECTORS = 9 };
static inline int64_t mffa_packed(int64_t d) { return d * (d + 1) / 2; }

/* s[d, d] packed += sum over k < n of v[k] v[k]^T; n at most MFFA_VECTORS. */
void mffa_kernel_scatter(float *s, int d, float *v, int pitch, int n);

/* out[k] = |W v[k]|^2, W[i, j] = scale[i] * q[i, j]; k < 8. */
void mffa_kernel_whiten(const int16_t *q, const float *scale, int d, float *v, int pitch, float out[8]);

/* products[j] = norms[j] - 2 products[j] for n values, in place; returns the least (infinity for n = 0; NaN is passed over). */
float mffa_kernel_expand(float *products, const float *norms, int64_t n);

#endif

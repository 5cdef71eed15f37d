/* Inner loops that are worth a version for each kind of processor (AVX-512, AVX2, any). Fused multiply-add may be used: no result
 * depends on which version ran beyond float32's rounding, and on one machine it is always the same one. */
#ifndef MFFA_CORE_MFFA_KERNELS_H
#define MFFA_CORE_MFFA_KERNELS_H

#include <stddef.h>

enum { MFFA_PANEL = 32, MFFA_PANEL_ROWS = 4 };

/* Squared distances of 4 rows [128] to the 32 centres of a panel [128, 32] (entry by entry: centre c is column c). panel: 64-byte
 * aligned. */
void mffa_kernel_distances(const float *const rows[MFFA_PANEL_ROWS], const float *panel, float out[MFFA_PANEL_ROWS][MFFA_PANEL]);

#endif

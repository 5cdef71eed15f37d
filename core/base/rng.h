/* Seeded random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * Counter-based: (seed, stream, index) alone decide a value, so parts of the pipeline never disturb each other and anyone can
 * recompute them. key = seed; counter = (index low, index high, stream low, stream high), one counter step gives four 32-bit words,
 * used in order. Streams are named in the header of the part that draws from them.
 *   u32       the next word
 *   below(n)  uniform in [0, n): rejection on u32 (n <= 2^32) so that it is exactly uniform
 *   unit      (u64 >> 11) * 2^-53, where u64 = low word first; in [0, 1)
 *   normal    Box-Muller on two units in double: sqrt(-2 ln(1 - u1)) cos(2 pi u2); the sine half is not used
 * Not for secrets: nonces come from mffa_random_bytes. */
#ifndef MFFA_CORE_BASE_RNG_H
#define MFFA_CORE_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>
#include "core/base/err.h"

typedef struct mffa_rng {
    uint64_t seed, stream, index; /* position of the next block; copy the struct to save and resume the exact state */
    uint32_t word[4];
    int used;                     /* of word[]; 4: none left */
} mffa_rng;

void mffa_rng_init(mffa_rng *r, uint64_t seed, uint64_t stream);
uint32_t mffa_rng_u32(mffa_rng *r);
uint64_t mffa_rng_below(mffa_rng *r, uint64_t n);    /* n in 1..2^32 */
double mffa_rng_unit(mffa_rng *r);
double mffa_rng_uniform(mffa_rng *r, double low, double high);
double mffa_rng_normal(mffa_rng *r);
/* Fisher-Yates from the end: for i = n-1..1 swap items[i] with items[below(i + 1)]. */
void mffa_rng_shuffle(mffa_rng *r, int64_t *items, size_t n);
/* k of 0..n-1 without replacement, ascending: the first k of a shuffled 0..n-1, sorted. */
MFFA_MUST_USE mffa_code mffa_rng_choose(mffa_rng *r, int64_t n, int64_t k, int64_t *out, mffa_err *err);

/* len bytes from the operating system (getrandom). */
MFFA_MUST_USE mffa_code mffa_random_bytes(void *out, size_t len, mffa_err *err);
/* 2 * bytes lower-case hex digits and NUL. */
MFFA_MUST_USE mffa_code mffa_random_hex(char *out, size_t bytes, mffa_err *err);

#endif

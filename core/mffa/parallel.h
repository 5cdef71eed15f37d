/* A loop cut into one piece a thread. The pieces depend on n and the thread count alone. */
#ifndef MFFA_CORE_MFFA_PARALLEL_H
#define MFFA_CORE_MFFA_PARALLEL_H

#include <stdint.h>

/* Calls piece(ctx, from, to) for pieces of 0..n-1, each in a thread of its own (the first in the caller's), and returns when all are
 * done. Where a thread cannot be made, the caller does its piece. */
void mffa_parallel(int threads, int64_t n, void (*piece)(void *ctx, int64_t from, int64_t to), void *ctx);

#endif

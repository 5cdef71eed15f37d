/* How much memory this process may use. */
#ifndef MFFA_WORKER_MEMORY_H
#define MFFA_WORKER_MEMORY_H

#include <stdint.h>

/* The smaller of the machine's memory and the limits of this process' cgroup (version 2 or 1) and those above it. */
int64_t mffa_memory_limit_bytes(void);

#endif

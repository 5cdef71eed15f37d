/* How much memory this process may use, and how much it has used. */
#ifndef MFFA_WORKER_MEMORY_H
#define MFFA_WORKER_MEMORY_H

#include <stdint.h>

/* The smaller of the machine's memory and the limits of this process' cgroup (version 2 or 1) and those above it. */
int64_t mffa_memory_limit_bytes(void);

/* The highest resident memory since the last reset (VmHWM of proc(5)); 0 where the kernel does not tell. */
int64_t mffa_memory_peak_bytes(void);
/* Gives back what is free, then starts anew from what is resident. Where the kernel refuses, the peak stays that of the whole process. */
void mffa_memory_peak_reset(void);

#endif

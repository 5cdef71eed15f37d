/* The worker's own numbers for the metrics: what is known at the start, and what is read when somebody asks. */
#ifndef MFFA_WORKER_GATHER_H
#define MFFA_WORKER_GATHER_H

#include <stdbool.h>
#include <sys/types.h>
#include "core/base/config.h"

/* Pool and device, and every counter at 0 for each kind that this worker takes, so that the first increase is seen as one. */
void mffa_gather_begin(const mffa_config *config);
/* This process is the executor now, and whether it finds GPUs. Main thread. */
void mffa_gather_executor(pid_t pid, bool has_gpu);
/* For mffa_endpoint_open; the endpoint's thread. */
void mffa_gather(void *ctx);

#endif

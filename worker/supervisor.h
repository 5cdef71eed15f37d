/* The worker's life: an executor that is ready, a job for it, the next one; until it is asked to stop or to drain. */
#ifndef MFFA_WORKER_SUPERVISOR_H
#define MFFA_WORKER_SUPERVISOR_H

#include "core/base/config.h"

/* args: the program's arguments without its name, NULL-terminated, for the executor. Returns the exit code. */
int mffa_supervisor_run(const mffa_config *config, char *const args[]);

#endif

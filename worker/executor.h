/* The executor: the process that owns the device, runs one job after the other and keeps network and model warm in between.
 * Its main thread works; a second one listens, so that "cancel" and "stop" are heard at the next tick of progress and the end of the
 * supervisor ends this process at once. */
#ifndef MFFA_WORKER_EXECUTOR_H
#define MFFA_WORKER_EXECUTOR_H

#include "core/base/config.h"

/* fd: this end of the socket pair (child.h). folder: for files in the making, emptied after each job. Returns the exit code. */
int mffa_executor_run(int fd, const char *folder, const mffa_config *config);

#endif

/* The wish to end: SIGTERM and SIGINT as something to poll. The first asks; the second ends the process at once. */
#ifndef MFFA_WORKER_STOP_H
#define MFFA_WORKER_STOP_H

#include <stdint.h>
#include "core/base/err.h"

/* First thing in main. */
MFFA_MUST_USE mffa_code mffa_stop_open(mffa_err *err);
int mffa_stop_fd(void); /* readable when mffa_stop_asked has news */
bool mffa_stop_asked(void);
/* Sleeps, or returns at once when asked to stop. */
void mffa_stop_sleep(int64_t ms);

#endif

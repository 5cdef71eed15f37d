/* How a daemon is: what /healthz and /readyz answer. Alive: its main loop came round within the last 3 minutes, whatever Redis does;
 * one that is not alive is to be killed. Ready: it does its work now; one that is not ready says why and usually mends itself.
 * Told by the main thread, read by the endpoint's. */
#ifndef MFFA_SCHEDULER_HEALTH_H
#define MFFA_SCHEDULER_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The main loop came round. */
void mffa_health_pulse(void);
/* Ready from now on for ms, unless told otherwise; also a pulse. */
void mffa_health_ready(int64_t ms);
/* why: one sentence without secrets. Also a pulse. */
void mffa_health_not_ready(const char *why);

/* Whether it is; why (NUL-terminated, cut to room): a sentence in either case. */
bool mffa_health_is_alive(char *why, size_t room);
bool mffa_health_is_ready(char *why, size_t room);

#endif

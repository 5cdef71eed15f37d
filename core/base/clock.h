/* Time. mffa_now_ms never goes back and has no meaning across machines: for time-outs, rates, durations.
 * mffa_wall_ms is the calendar (Unix epoch): for documents people read. Queue decisions use Redis' clock, never these. */
#ifndef MFFA_CORE_BASE_CLOCK_H
#define MFFA_CORE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t mffa_now_ms(void);
int64_t mffa_wall_ms(void);
/* "2026-01-31T12:00:00.123Z" (UTC, RFC 3339) into out. */
void mffa_wall_text(int64_t wall_ms, char out[25]);
/* Sleep for ms, whatever signals come; returns early never. */
void mffa_sleep_ms(int64_t ms);

#endif

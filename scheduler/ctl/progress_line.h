/* Progress for a person: on a terminal one line for each phase, rewritten in place and left standing when the phase ends; elsewhere plain
 * lines, at the beginning and end of a phase and at most every 5 s between.
 *     fit juf3-2  features  12 of 28  3.1/s  6 s left
 * Rate and time left count from the phase's beginning. One thread. */
#ifndef MFFA_SCHEDULER_CTL_PROGRESS_LINE_H
#define MFFA_SCHEDULER_CTL_PROGRESS_LINE_H

#include <stdio.h>
#include "core/base/progress.h"

typedef struct mffa_progress_line {
    FILE *out;
    bool live;
    char label[96], phase[32];
    int64_t done, total, first; /* of the phase; first: done when it began */
    int64_t began_ms, shown_ms;
    bool open;                  /* a phase that has not ended */
} mffa_progress_line;

void mffa_progress_line_init(mffa_progress_line *l, FILE *out, const char *label);
/* Another phase means that the one before is complete. */
void mffa_progress_line_show(mffa_progress_line *l, const char *phase, int64_t done, int64_t total);
/* complete: it got to its total, whatever was told last. */
void mffa_progress_line_end(mffa_progress_line *l, bool complete);
/* For functions that tell their progress themselves; ctx is the line. */
mffa_progress mffa_progress_line_watch(mffa_progress_line *l);

#endif

/* report.html: the run for a person to look at. One self-contained page (no script, no foreign address) that shows the figures, each
 * defect type, and the pictures sorted by score; the heat maps lie beside it and are linked relatively. */
#ifndef MFFA_WORKER_REPORT_H
#define MFFA_WORKER_REPORT_H

#include "worker/scores.h"
#include "worker/summary.h"

enum { MFFA_REPORT_PICTURES = 1000 }; /* more than these, the highest scores, make a page too heavy to open */

/* Appended to out. summary->scoring is set. */
MFFA_MUST_USE mffa_code mffa_report_write(const mffa_summary *summary, const mffa_scores *scores, mffa_buf *out, mffa_err *err);

#endif

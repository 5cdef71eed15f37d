/* One colour range for all heat maps of a run, so that equal colours mean equal values.
 *   low   what the warm spots of a normal picture reach: the median, over the normal pictures, of the value that 99 % of the
 *         picture's pixels stay below; drawn as the photograph itself
 *   high  what three of four defects reach: the lower quartile of the defective pictures' scores; the full colour
 * Without labels all pictures count as mostly normal, and high is what stands out among them. A known threshold lies at
 * 77 % of the range at most, so that what is called a defect is seen as one. */
#ifndef MFFA_WORKER_HEAT_RANGE_H
#define MFFA_WORKER_HEAT_RANGE_H

#include "core/mffa/metrics.h"
#include "worker/scores.h"

typedef struct mffa_heat_range { double low, high; } mffa_heat_range; /* low < high, also as float */

/* The value that 99 % of a map's pixels stay below; of large maps every second row and column is looked at. */
MFFA_MUST_USE mffa_code mffa_heat_typical(const float *map, int side, float *out, mffa_err *err);
/* typical: one a picture of scores, in its order. scores is not empty. */
MFFA_MUST_USE mffa_code mffa_heat_range_of(const mffa_scores *scores, const float *typical, mffa_heat_range *out, mffa_err *err);

#endif

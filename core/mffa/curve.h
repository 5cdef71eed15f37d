/* The figures that need nothing but an order: one walk from the highest value to the lowest, equal values in one step.
 * Exact: counts are integers, so a tie is a tie; only AUPRC's and AUPRO's sums round (double). Memory is constant.
 *
 * A mffa_curve is one such walk. A mffa_sweep walks all defect types at once: each type against its own normal pixels and all pixels
 * of the normal pictures, and everything against everything. Since only steps with positives change a figure, a step costs the types
 * that take part in it, not all of them. */
#ifndef MFFA_CORE_MFFA_CURVE_H
#define MFFA_CORE_MFFA_CURVE_H

#include <stddef.h>
#include <stdint.h>
#include "core/base/err.h"

__extension__ typedef unsigned __int128 mffa_wide; /* pairs of pixels: 10^10 pixels make 10^20 of them */

typedef struct mffa_curve {
    int64_t positives, negatives, regions; /* totals, set before the first step; regions 0 where AUPRO is not wanted */
    int64_t positives_above;
    mffa_wide half_pairs;     /* pairs (positive, negative) in the right order count 2, ties 1 */
    double precision_sum;     /* over positives: precision at their value */
    double overlap_sum;       /* area under (false positive rate, summed overlap of regions) up to the limit */
    int64_t best_hits, best_called; /* at the best F1: positives and values at or above its threshold */
    double best_threshold;
} mffa_curve;

/* One distinct value, lower than those before: `hits` > 0 positives and `misses` negatives have it, negatives_above are higher.
 * overlap: sum over these positives of 1 / (pixels of the positive's region). */
void mffa_curve_step(mffa_curve *c, double value, int64_t hits, int64_t misses, int64_t negatives_above, double overlap);

/* After the last step. positives > 0; auroc and aupro need negatives > 0, aupro regions > 0. */
double mffa_curve_auroc(const mffa_curve *c);
double mffa_curve_auprc(const mffa_curve *c); /* average precision, as scikit-learn's: no interpolation */
double mffa_curve_f1_max(const mffa_curve *c); /* reached by calling everything >= best_threshold; of equals the lowest threshold */
double mffa_curve_aupro(const mffa_curve *c); /* to false positive rate .3, interpolated there, divided by .3 */

typedef struct mffa_sweep_type {
    mffa_curve curve;
    int64_t negatives_above, hits, misses; /* the latter two of the step under way */
    double overlap;
} mffa_sweep_type;

typedef struct mffa_sweep {
    mffa_curve all;
    mffa_sweep_type *types; /* [count]; type 0 is "normal", without a curve */
    size_t count;
    int64_t negatives_above;  /* of all types */
    int64_t hits, misses;     /* of the step under way, all types */
    double value, overlap;
    size_t *touched, touched_count; /* types other than normal that the step under way has */
} mffa_sweep;

/* count types, normal included; set the totals in all and types[].curve (negatives of a type: its own and the normal pictures'). */
MFFA_MUST_USE mffa_code mffa_sweep_init(mffa_sweep *s, size_t count, mffa_err *err);
void mffa_sweep_done(mffa_sweep *s);
/* Values come in descending order. region_size: pixels of the positive's region; 0: a negative. */
void mffa_sweep_add(mffa_sweep *s, double value, size_t type, int64_t region_size);
void mffa_sweep_end(mffa_sweep *s);

#endif

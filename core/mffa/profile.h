/* The numbers of a fit: design section 3's table, as data.
 * A profile fills in what a job does not say. Widths are not in here: they come from the weights (D = the transformer's width). */
#ifndef MFFA_CORE_MFFA_PROFILE_H
#define MFFA_CORE_MFFA_PROFILE_H

#include <stdint.h>
#include "core/base/err.h"

typedef struct mffa_profile {
    char name[16];             /* "paper", "small" */
    int side;                  /* S, a multiple of 32 from 64 to 1024 */
    int grid;                  /* G, 1..S/4 */
    int blocks;                /* CaiT blocks, 0..11; 0: the aggregated features themselves */
    int gaussian_channels;     /* d, 1..D */
    double ratio;              /* of the coreset, (0, 1] */
    double lambda;             /* added to the covariance's diagonal, > 0 */
    double sigma;              /* of the blur, in pixels of S; 0: none */
    uint64_t seed;
    bool keep_statistics;      /* also store mean and scatter, for "extend" */
} mffa_profile;

/* "paper" or "small"; MFFA_EINVAL names the two. */
MFFA_MUST_USE mffa_code mffa_profile_named(const char *name, mffa_profile *out, mffa_err *err);
/* Range checks; the text names field, value and range. */
MFFA_MUST_USE mffa_code mffa_profile_check(const mffa_profile *p, mffa_err *err);

#endif

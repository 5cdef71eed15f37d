/* How far a model is from one that was computed again: what an audit reports. */
#ifndef MFFA_CORE_MFFA_MODEL_DIFFERENCE_H
#define MFFA_CORE_MFFA_MODEL_DIFFERENCE_H

#include "core/mffa/model.h"

enum { MFFA_MODEL_PARTS = 7 };

typedef struct mffa_model_part {
    const char *name;  /* a tensor of the model's file, static text */
    bool chosen;       /* integers that were drawn or chosen: either the same or not */
    int64_t differing; /* values that are not equal */
    double largest;    /* max |again - stored| / max |stored|; for chosen ones 0 or 1; infinity where a value is not finite */
} mffa_model_part;

typedef struct mffa_model_difference { /* plain data */
    mffa_model_part parts[MFFA_MODEL_PARTS];
    int64_t differing; /* of all parts */
    double largest;    /* of all parts */
    const char *where; /* the part that has it; NULL: nothing differs */
} mffa_model_difference;

/* The Gaussian's factors are compared as what they stand for, scale times integer. gaussian.scatter is not compared: the factors come
 * from it. MFFA_EINVAL when the two differ in their numbers of pictures, rows or channels, saying how. */
MFFA_MUST_USE mffa_code mffa_model_compare(const mffa_model *stored, const mffa_model *again, mffa_model_difference *out, mffa_err *err);

#endif

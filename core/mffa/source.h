/* Where the pipeline's pictures come from: a numbered, repeatable list. The same index gives the same picture each time (fit and
 * finetune go over the list more than once). */
#ifndef MFFA_CORE_MFFA_SOURCE_H
#define MFFA_CORE_MFFA_SOURCE_H

#include <stdint.h>
#include "core/base/err.h"

typedef struct mffa_source {
    int64_t count;
    void *ctx;
    /* Picture i as [3, side, side] float32 in 0..1 (resized, not normalised). MFFA_ESKIP: leave this picture out (each time); any
     * other failure ends the call that asked. */
    mffa_code (*load)(void *ctx, int64_t i, int side, float *out, mffa_err *err);
} mffa_source;

#endif

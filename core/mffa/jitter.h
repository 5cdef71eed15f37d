/* Colour jitter: brightness, contrast, saturation and hue of a picture changed a little, in random order. Definitions are those of
 * torchvision.transforms.ColorJitter on float tensors (torchvision/transforms/_functional_tensor.py). */
#ifndef MFFA_CORE_MFFA_JITTER_H
#define MFFA_CORE_MFFA_JITTER_H

#include "core/base/rng.h"

enum { MFFA_JITTER_BRIGHTNESS, MFFA_JITTER_CONTRAST, MFFA_JITTER_SATURATION, MFFA_JITTER_HUE, MFFA_JITTER_STEPS };

typedef struct mffa_jitter {
    double amount[MFFA_JITTER_STEPS]; /* factors, 1 changes nothing; hue: part of the colour circle that is added, 0 changes nothing */
    int64_t order[MFFA_JITTER_STEPS]; /* the steps, first to last */
} mffa_jitter;

/* Each factor uniform in [1 - strength, 1 + strength], hue in [-strength, strength], drawn in that order, then the shuffled order. */
mffa_jitter mffa_jitter_draw(mffa_rng *r, double strength);
/* rgb [3, count] float32 in 0..1, changed in place; stays in 0..1. */
void mffa_jitter_apply(const mffa_jitter *j, float *rgb, int64_t count);

#endif

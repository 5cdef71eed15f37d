/* CutPaste and CutPaste-Scar: pseudo-defects made of a picture's own pixels (Li et al., "CutPaste: self-supervised learning for anomaly
 * detection and localization", CVPR 2021; design section 3). What is random is drawn first, into a struct that says everything; applying
 * it is plain arithmetic. Torch-free; no state.
 *   CutPaste   a patch of .02 to .15 of the picture's area, width / height log-uniform in [.3, 1 / .3], not turned
 *   scar       2 to 16 px wide and 10 to 25 px high at side 256 (scaled with the side), turned by -45 to 45 degrees
 * Both: colours jittered by .1; cut and paste places uniform among those where everything lies inside the picture, independently of
 * each other. Sizes are uniform before they are rounded to whole pixels, 1 at least. */
#ifndef MFFA_CORE_MFFA_CUTPASTE_H
#define MFFA_CORE_MFFA_CUTPASTE_H

#include "core/mffa/jitter.h"

typedef struct mffa_cutpaste {   /* px; x to the right, y down, corners are the upper left ones */
    int width, height;           /* of the patch that is cut */
    int from_x, from_y;          /* its corner in the picture */
    double angle;                /* degrees by which it is turned, from x towards y */
    int box_width, box_height;   /* of the upright box around the turned patch */
    int to_x, to_y;              /* the box's corner in the picture */
    mffa_jitter jitter;
} mffa_cutpaste;

/* Values are drawn in this order: area, log of the aspect (scar: width, height), from x, y, angle (scar only), to x, y, jitter.
 * side: of the square picture, 16 at least. */
mffa_cutpaste mffa_cutpaste_draw(mffa_rng *r, int side);
mffa_cutpaste mffa_scar_draw(mffa_rng *r, int side);

/* image, out [3, side, side] float32 in 0..1, not the same memory. out is the image but for those pixels of the box whose centre lies in
 * the turned patch: they take the jittered patch, bilinear between its pixels. MFFA_ENOMEM. */
MFFA_MUST_USE mffa_code mffa_cutpaste_apply(const mffa_cutpaste *c, const float *image, int side, float *out, mffa_err *err);

#endif

/* The pictures of the sample data set: a disc of woven cloth on a metal table, as a camera above a conveyor sees it.
 * No two pictures are alike: the disc lies a little turned and shifted, threads differ in brightness, the light comes from another
 * side, the camera adds noise. Random numbers: picture n of a seed draws the product from stream 2n, its defect from stream 2n + 1, so
 * the same picture can be made with and without its defect. */
#ifndef MFFA_SCHEDULER_CTL_SAMPLE_SCENE_H
#define MFFA_SCHEDULER_CTL_SAMPLE_SCENE_H

#include "core/image/image.h"

#define MFFA_SAMPLE_DEFECTS(X) /* X(NAME, folder) */                                                                                 \
    X(SCRATCH, "scratch") X(STAIN, "stain") X(HOLE, "hole") X(MISSING_THREAD, "missing_thread") X(CONTAMINATION, "contamination")
typedef enum mffa_sample_defect {
#define X(name, folder) MFFA_SAMPLE_##name,
    MFFA_SAMPLE_DEFECTS(X)
#undef X
    MFFA_SAMPLE_DEFECT_COUNT,
    MFFA_SAMPLE_NORMAL = MFFA_SAMPLE_DEFECT_COUNT
} mffa_sample_defect;

/* "scratch"; "good" for MFFA_SAMPLE_NORMAL; static. */
const char *mffa_sample_defect_name(mffa_sample_defect d);

/* picture: channels 3, [side, side]. mask: channels 1, 255 exactly where the picture differs from the same number without a defect; NULL
 * where it is not wanted. MFFA_ENOMEM. */
MFFA_MUST_USE mffa_code mffa_sample_scene(uint64_t seed, uint64_t number, mffa_sample_defect d, int side_px, mffa_image *picture,
                                          mffa_image *mask, mffa_err *err);

#endif

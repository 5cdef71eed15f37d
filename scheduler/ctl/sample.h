/* The sample: a small data set and network weights from a seed, so that everything can be tried without a download.
 *   <dir>/dataset   MVTec layout: train/good, test/good, test/<five kinds of defect>, ground_truth/<kind>/<number>_mask.png
 *   <dir>/weights   backbone.safetensors (ResNet18 up to layer3, torchvision's names) and transformer.safetensors (the first 11 blocks of
 *                   CaiT-XXS24, timm's names), both as their libraries initialise them, not trained; with profile "paper" wide ResNet50-2
 *                   and CaiT-M36 (400 MB)
 * Random numbers: pictures as in sample_scene.h; tensor n of the weights draws from stream 2^32 + n, backbone first. */
#ifndef MFFA_SCHEDULER_CTL_SAMPLE_H
#define MFFA_SCHEDULER_CTL_SAMPLE_H

#include <stdint.h>
#include "core/base/progress.h"

typedef struct mffa_sample_options {
    uint64_t seed;
    int train, good;       /* normal pictures to train on (1..10000), to test with (0..10000) */
    int defects_per_kind;  /* 0..1000 of each of the five kinds */
    int side_px;           /* 64..2048 */
    const char *profile;   /* of the weights: "small" or "paper"; borrowed */
} mffa_sample_options;

mffa_sample_options mffa_sample_defaults(void); /* seed 1; 24, 6 and 5 x 4 pictures of 256 x 256; small */

/* Makes dir, and both folders in it at once when all is written; a failure leaves neither. MFFA_EEXISTS if one of them is there already;
 * MFFA_EINVAL names the option; MFFA_ENOSPC, MFFA_EIO name the file. Phases: "pictures", "weights" (tensors). */
MFFA_MUST_USE mffa_code mffa_sample_write(const char *dir, const mffa_sample_options *o, const mffa_progress *p, mffa_err *err);

#endif

/* The layout of a data set: which key is a training picture, a test picture, of which type, with which mask.
 * Works on a sorted list of keys relative to the data set's prefix; knows no storage.
 *   MVTec   train/good/...  test/good/...  test/<type>/...  ground_truth/<type>/<stem>_mask.png or <stem>.png (.bmp)
 *   BTAD    train/ok/...    test/ok/...    test/ko/...      ground_truth/ko/<stem>.png or .bmp
 *   plain   any tree of images (score): no labels
 * Keys that are not images are ignored and counted. Order of items: as listed (sorted), so runs agree. */
#ifndef MFFA_CORE_IMAGE_DATASET_H
#define MFFA_CORE_IMAGE_DATASET_H

#include <stdint.h>
#include "core/base/buf.h"

typedef enum mffa_dataset_use { MFFA_USE_TRAIN, MFFA_USE_TEST, MFFA_USE_SCORE } mffa_dataset_use;

typedef struct mffa_sample { /* borrowed from the data set */
    const char *key;         /* relative to the prefix, "test/crack/003.png" */
    const char *mask_key;    /* NULL: none */
    const char *type;        /* "good", "crack"; "" without labels */
    int label;               /* 0 normal, 1 defect, -1 unknown */
} mffa_sample;

typedef struct mffa_dataset mffa_dataset;

/* keys: n relative keys, sorted by bytes. Fails with MFFA_EINVAL naming what is missing and what was found instead:
 * TRAIN without train/good (or train/ok) or without any image in it; TEST without test/; a mask in ground_truth without its image
 * (TEST); SCORE without any image. A defective picture without mask is allowed (mask_key NULL). */
MFFA_MUST_USE mffa_code mffa_dataset_open(const char *const *keys, size_t n, mffa_dataset_use use, mffa_dataset **out, mffa_err *err);
void mffa_dataset_close(mffa_dataset *d);
static inline void mffa_dataset_close_p(mffa_dataset **d) { mffa_dataset_close(*d); }
size_t mffa_dataset_count(const mffa_dataset *d);
const mffa_sample *mffa_dataset_at(const mffa_dataset *d, size_t i);
size_t mffa_dataset_ignored(const mffa_dataset *d); /* keys that are no images */

#endif

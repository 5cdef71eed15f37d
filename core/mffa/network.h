/* Backbone and transformer on a device, ready for use: what fit, score and finetune share and what a worker keeps warm.
 * Owned by one thread, the one that made it. */
#ifndef MFFA_CORE_MFFA_NETWORK_H
#define MFFA_CORE_MFFA_NETWORK_H

#include <stdint.h>
#include "core/base/buf.h"
#include "core/nn/cait.h"
#include "core/nn/resnet.h"

typedef struct mffa_network_files {
    const char *backbone;    /* local path of safetensors with torchvision names */
    const char *transformer; /* local path with timm names; may be NULL when blocks is 0 */
} mffa_network_files;

typedef struct mffa_network_options {
    const char *device;    /* "auto", "cpu", "cuda:0" */
    const char *precision; /* "fp32", "tf32", "bf16" */
    int threads;           /* 0: as many as cores */
    int batch;             /* images that pass at once */
} mffa_network_options;

typedef struct mffa_network mffa_network;
/* Recognises the architecture by tensor names and shapes. MFFA_EINVAL names a missing or wrongly shaped tensor, or says which pair
 * would fit when C1 + C2 != D. */
MFFA_MUST_USE mffa_code mffa_network_open(const mffa_network_files *files, int blocks, const mffa_network_options *options, mffa_network **out, mffa_err *err);
void mffa_network_close(mffa_network *n);
static inline void mffa_network_close_p(mffa_network **n) { mffa_network_close(*n); }

typedef struct mffa_network_info {
    char backbone[64], transformer[64]; /* "resnet18", "cait 192 wide, 4 heads" */
    int c1, c2, c3, width;              /* C1, C2, C3, D (C1 + C2 when there is no transformer) */
    int blocks;                         /* of the transformer, 0: none */
    char device[16], precision[8];
    int batch;
} mffa_network_info;
const mffa_network_info *mffa_network_describe(const mffa_network *n);

/* For the rest of the pipeline; borrowed. */
const mffa_device *mffa_network_device(const mffa_network *n);
const mffa_cait *mffa_network_transformer(const mffa_network *n); /* NULL when blocks is 0 */
/* images [count, 3, side, side] float32 0..1 -> the same normalised by ImageNet's mean and deviation, as a backbone wants them. */
mffa_tensor *mffa_network_input(mffa_scope *s, const float *images, int64_t count, int side);
/* images as above, not normalised -> outputs of layer1..3. */
mffa_stages mffa_network_stages(mffa_scope *s, const mffa_network *n, const float *images, int64_t count, int side);
/* Host memory that `count` images need at once: activations of the backbone, then of the transformer on grid x grid tokens. */
int64_t mffa_network_bytes(const mffa_network *n, int64_t count, int side, int grid);

#endif

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
    bool as_on_gpu;        /* everything as tensor operations, as on a GPU: slower on a CPU, for tests */
} mffa_network_options;

typedef struct mffa_network mffa_network;
/* Recognises the architecture by tensor names and shapes. MFFA_EINVAL names a missing or wrongly shaped tensor, or says which pair
 * would fit when C1 + C2 != D. */
MFFA_MUST_USE mffa_code mffa_network_open(const mffa_network_files *files, int blocks, const mffa_network_options *options,
                                          mffa_network **out, mffa_err *err);
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
/* Whether maps and sums are computed on the device from beginning to end. */
bool mffa_network_on_device(const mffa_network *n);
/* From now on at most this many images pass at once: memory ran out with more. */
void mffa_network_shrink(mffa_network *n, int batch);
/* What belongs to this network's device and to the thing that `key` names (not 0): closed when another is attached, and with the network.
 */
void mffa_network_attach(mffa_network *n, uint64_t key, void *what, void (*close)(void *what));
void *mffa_network_attached(const mffa_network *n, uint64_t key); /* NULL: not there */
/* images [count, 3, side, side] float32 0..1 -> the same normalised by ImageNet's mean and deviation, as a backbone wants them. */
mffa_tensor *mffa_network_input(mffa_scope *s, const float *images, int64_t count, int side);
/* images as above, not normalised -> outputs of layer1..3. */
mffa_stages mffa_network_stages(mffa_scope *s, const mffa_network *n, const float *images, int64_t count, int side);
/* Bytes, of the device's memory: */
int64_t mffa_network_weights_bytes(const mffa_network *n);
/* Of the outputs of layer1..3 of `count` images. */
int64_t mffa_network_stages_bytes(const mffa_network *n, int64_t count, int side);
/* Memory that `count` images need at once: weights, activations of the backbone, then of the transformer on grid x grid tokens, to which
 * `at_once` of them go at a time. */
int64_t mffa_network_bytes(const mffa_network *n, int64_t count, int64_t at_once, int side, int grid);

#endif

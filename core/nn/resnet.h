/* ResNets with torchvision's names and mathematics: BasicBlock (18, 34), Bottleneck with the stride on conv2 (50, 101, wide).
 * Everything about the shape comes from the weights (He et al., "Deep residual learning for image recognition", CVPR 2016;
 * torchvision/models/resnet.py). Owned by one thread. */
#ifndef MFFA_CORE_NN_RESNET_H
#define MFFA_CORE_NN_RESNET_H

#include "core/nn/weights.h"

typedef struct mffa_resnet mffa_resnet;

/* mode MFFA_INFER for features, MFFA_GRAD to train. d is borrowed as long as the network lives, w only for this call.
 * stages: how many of layer1..4 to load (3 for features; 0: all in the file). MFFA_EINVAL as mffa_weights_get. */
MFFA_MUST_USE mffa_code mffa_resnet_open(const mffa_device *d, const mffa_weights *w, mffa_mode mode, int stages, mffa_resnet **out,
                                         mffa_err *err);
void mffa_resnet_close(mffa_resnet *r);
static inline void mffa_resnet_close_p(mffa_resnet **r) { mffa_resnet_close(*r); }
const mffa_weights_info *mffa_resnet_describe(const mffa_resnet *r);
int mffa_resnet_stages(const mffa_resnet *r);
int64_t mffa_resnet_bytes(const mffa_resnet *r); /* of its weights, as float32 */

/* x [B, 3, H, W] normalised, borrowed. stage[i] = output of layer(i+1), [B, C, H / 4 / 2^i, ..], NULL beyond those loaded or after a
 * failure. training: BatchNorm by the batch's statistics, running statistics updated. Temporaries of a block go with the block. */
typedef struct mffa_stages {
    mffa_tensor *stage[4];
} mffa_stages;
mffa_stages mffa_resnet_forward(mffa_scope *s, const mffa_resnet *r, mffa_tensor *x, bool training);

/* Every tensor of the network in a fixed order (that of the forward pass), for the optimiser and for files. */
typedef struct mffa_resnet_tensor {
    char name[48]; /* torchvision's, without prefix */
    mffa_tensor *value;
    bool trained; /* false: a running statistic */
} mffa_resnet_tensor;
size_t mffa_resnet_count(const mffa_resnet *r);
const mffa_resnet_tensor *mffa_resnet_at(const mffa_resnet *r, size_t i);

#endif

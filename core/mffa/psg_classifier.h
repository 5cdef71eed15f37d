/* The network that PSG trains: the whole backbone, a linear head for three classes on its pooled last stage (layer4, or layer3 where the
 * weights stop there), and the optimiser. Owned by one thread. */
#ifndef MFFA_CORE_MFFA_PSG_CLASSIFIER_H
#define MFFA_CORE_MFFA_PSG_CLASSIFIER_H

#include "core/mffa/network.h"

enum { MFFA_PSG_CLASSES = 3 };

typedef struct mffa_classifier {
    mffa_device *device;
    mffa_resnet *backbone;
    mffa_scope *scope;                       /* owns the head */
    mffa_tensor *head_weight, *head_bias;    /* [3, C], [3] */
    mffa_sgd *optimiser;
    const mffa_resnet_tensor **tensors;      /* [count]: the backbone's in its order, then the head's: "head.weight", "head.bias" */
    mffa_resnet_tensor head[2];
    size_t count;
} mffa_classifier;

/* path: local safetensors of a backbone; the head is drawn from stream MFFA_STREAM_HEAD of seed as torch.nn.Linear's default: weight (row
 * by row), then bias, uniform in +-1 / sqrt(C), float32. */
MFFA_MUST_USE mffa_code mffa_classifier_open(const char *path, const mffa_network_options *options, mffa_sgd_rates rates, uint64_t seed,
                                             mffa_classifier *out, mffa_err *err);
/* path: a checkpoint, which is a backbone with "head.*" and "momentum.*" beside it (psg_checkpoint.h). */
MFFA_MUST_USE mffa_code mffa_classifier_resume(const char *path, const mffa_network_options *options, mffa_sgd_rates rates,
                                               mffa_classifier *out, mffa_err *err);
void mffa_classifier_done(mffa_classifier *c);

/* One step of the optimiser on images [n, 3, side, side] float32 in 0..1 with labels [n]; BatchNorm by the batch. loss: mean cross
 * entropy before the step; right: how many of the n were told correctly then. */
MFFA_MUST_USE mffa_code mffa_classifier_step(mffa_classifier *c, const float *images, const int64_t *labels, int64_t n, int side,
                                             double *loss, int64_t *right, mffa_err *err);
/* The momentum of tensor i, a tensor of s; NULL for a running statistic. */
mffa_tensor *mffa_classifier_momentum(mffa_scope *s, mffa_classifier *c, size_t i);
/* The backbone as safetensors at path: every tensor of `like` (the file that it came from) under the same name, tuned ones as float32,
 * others (fc, counters) as they are there. Removes what it wrote when it fails. */
MFFA_MUST_USE mffa_code mffa_classifier_save_backbone(const mffa_classifier *c, const char *like, const char *path, mffa_err *err);

#endif

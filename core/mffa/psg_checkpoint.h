/* A fine-tuning's state after an epoch, as a file: safetensors that is a backbone (torchvision's names) with "head.weight", "head.bias" and
 * "momentum.<name>" for each trained tensor beside it, all float32. Its metadata says what it belongs to (seed, backbone's sha256,
 * settings, number of pictures) and how far it is (epoch, that epoch's loss and accuracy). Nothing else is needed to go on bit for bit:
 * all that is random depends on seed, epoch and picture alone. */
#ifndef MFFA_CORE_MFFA_PSG_CHECKPOINT_H
#define MFFA_CORE_MFFA_PSG_CHECKPOINT_H

#include "core/base/digest.h"
#include "core/mffa/psg.h"
#include "core/mffa/psg_classifier.h"

typedef struct mffa_psg_state {
    int epoch; /* epochs done */
    double loss, accuracy;
} mffa_psg_state;

typedef struct mffa_psg_owner { /* what a checkpoint belongs to */
    const mffa_psg_params *params;
    int64_t pictures;
    char backbone_sha256[MFFA_SHA256_HEX];
} mffa_psg_owner;

/* Atomic: the file before stays until this one is on the disk. */
MFFA_MUST_USE mffa_code mffa_psg_checkpoint_write(const mffa_psg_owner *of, const mffa_psg_state *at, mffa_classifier *c, mffa_err *err);
/* Metadata of the file at params->checkpoint; the tensors are mffa_classifier_resume's. MFFA_ENOTFOUND: no file. MFFA_EINVAL: no
 * checkpoint, or another owner's, naming what differs, or one of more epochs than params wants. */
MFFA_MUST_USE mffa_code mffa_psg_checkpoint_read(const mffa_psg_owner *of, mffa_psg_state *at, mffa_err *err);

#endif

/* PSG: pseudo-defect fine-tuning of the backbone (paper section on PSG; CutPaste, Li et al. 2021; design section 3).
 * Three classes from each normal picture: itself, CutPaste, CutPaste-Scar; whole backbone with a fresh 3-way head; SGD; BatchNorm by the
 * batch, its running statistics trained along.
 * An epoch takes each picture once, in an order shuffled anew, with new defects. It has ceil(pictures / batch) steps whose sizes differ
 * by at most one picture: 33 pictures and batch 32 are steps of 16 and 17, since a step of one would move the running statistics as
 * much as one of 32; fewer than `batch` pictures make one smaller step.
 * Same seed, device and thread count: the same weights, bit for bit on CPU, also when a checkpoint was resumed in between. */
#ifndef MFFA_CORE_MFFA_PSG_H
#define MFFA_CORE_MFFA_PSG_H

#include "core/base/progress.h"
#include "core/mffa/need.h"
#include "core/mffa/network.h"
#include "core/mffa/source.h"

/* Streams of core/base/rng.h; those of an epoch e (the first is 0) and a picture i (index in the source) are
 * stream | e << 16 | i << 32. */
enum {
    MFFA_STREAM_HEAD = 201,     /* the head's weight, then bias (psg_classifier.h) */
    MFFA_STREAM_ORDER = 202,    /* of an epoch: shuffle of the pictures that are not left out, ascending before; i = 0 */
    MFFA_STREAM_CUTPASTE = 203, /* of a picture in an epoch: mffa_cutpaste_draw */
    MFFA_STREAM_SCAR = 204      /* mffa_scar_draw */
};

typedef struct mffa_psg_params {
    int side;             /* S */
    int epochs;           /* 64 */
    int batch;            /* normal pictures a step: 32 (96 samples) */
    double learning_rate; /* 3e-4 */
    double momentum;      /* .9 */
    double weight_decay;  /* 3e-5 */
    uint64_t seed;
    const char *checkpoint; /* local path: read if it exists (resume after its epoch), written after every epoch; NULL: none */
} mffa_psg_params;

void mffa_psg_defaults(mffa_psg_params *p);

typedef struct mffa_psg_result {
    int64_t steps;         /* of all epochs, those before a resume too */
    double loss, accuracy; /* of the last epoch, over its training samples, each as it was before its step */
    int resumed_epoch;     /* epochs that the checkpoint had; 0: from the start */
} mffa_psg_result;

typedef struct mffa_psg_hooks {
    void *ctx;
    /* After each epoch (1, 2, ..) and its checkpoint, so that the caller can put the file away; a failure ends the fine-tuning. */
    mffa_code (*after_epoch)(void *ctx, int epoch, double loss, double accuracy, mffa_err *err);
} mffa_psg_hooks;

/* backbone: local safetensors. out_path gets the tuned backbone: the same tensors under the same names, tuned ones as float32; the head
 * is not included. options->batch does not matter. hooks may be NULL.
 * Phase told to progress: "finetune", in steps; asked for each picture that is loaded, so stopping waits for one step at most. All
 * pictures are loaded once before the first step: those with MFFA_ESKIP are left out.
 * A checkpoint may be resumed with more epochs, on another device and with another number of threads.
 * MFFA_EINVAL: no picture; a parameter out of range; a file that is no backbone; a checkpoint of another seed, backbone, setting or
 * number of pictures; a loss that is not finite. */
MFFA_MUST_USE mffa_code mffa_psg_finetune(const char *backbone, const mffa_network_options *options, const mffa_psg_params *params,
                                          const mffa_source *train, const char *out_path, const mffa_psg_hooks *hooks,
                                          const mffa_progress *progress, mffa_psg_result *result, mffa_err *err);

/* What fine-tuning on this many pictures needs at its peak; for the announcement before the job starts. gpu: it will run on one. */
MFFA_MUST_USE mffa_code mffa_psg_need(const char *backbone, const mffa_psg_params *params, int64_t pictures, bool gpu, mffa_need *out,
                                      mffa_err *err);

#endif

/* PSG: pseudo-defect fine-tuning of the backbone (paper section on PSG; CutPaste, Li et al. 2021; design section 3).
 * Three classes from each normal picture: itself, CutPaste, CutPaste-Scar; whole backbone with a fresh 3-way head; SGD.
 * Same seed, device and thread count: the same weights, bit for bit on CPU. */
#ifndef MFFA_CORE_MFFA_PSG_H
#define MFFA_CORE_MFFA_PSG_H

#include "core/base/progress.h"
#include "core/mffa/network.h"
#include "core/mffa/source.h"

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
    int64_t steps;
    double loss, accuracy; /* of the last epoch, over its training samples */
    int resumed_epoch;     /* epochs that the checkpoint had; 0: from the start */
} mffa_psg_result;

/* backbone: local safetensors; out_path gets the tuned backbone with the same tensor names (head not included).
 * Phase told to progress: "finetune", in steps. After each epoch's checkpoint `after_epoch` is called (NULL: nobody) so that the
 * caller can put the file away. MFFA_EINVAL: no picture; checkpoint of another seed, backbone or setting. */
typedef struct mffa_psg_hooks {
    void *ctx;
    mffa_code (*after_epoch)(void *ctx, int epoch, double loss, double accuracy, mffa_err *err);
} mffa_psg_hooks;
MFFA_MUST_USE mffa_code mffa_psg_finetune(const char *backbone, const mffa_network_options *options, const mffa_psg_params *params,
                                          const mffa_source *train, const char *out_path, const mffa_psg_hooks *hooks,
                                          const mffa_progress *progress, mffa_psg_result *result, mffa_err *err);

#endif

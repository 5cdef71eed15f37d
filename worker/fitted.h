/* The model that a job names, with the weights that it was fitted with and their network: what evaluate, score and verify begin with. */
#ifndef MFFA_WORKER_FITTED_H
#define MFFA_WORKER_FITTED_H

#include "worker/pretrained.h"
#include "worker/reference.h"

typedef struct mffa_fitted { /* zero-initialise */
    mffa_reference reference;
    mffa_pretrained_file file; /* model.safetensors */
    mffa_pretrained weights;
    const mffa_model *model; /* borrowed from the engine, as is the network */
    mffa_network *network;
} mffa_fitted;
void mffa_fitted_done(mffa_fitted *f);

/* A fine-tuned backbone lies beside the model; everything else is found by its hash in the job's weights. */
MFFA_MUST_USE mffa_code mffa_fitted_open(mffa_job *j, mffa_fitted *out, mffa_err *err);

#endif

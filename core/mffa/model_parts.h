/* What a model is made of: seen by the files that make, store and use it (fit.c, model_file.c, model.c). */
#ifndef MFFA_CORE_MFFA_MODEL_PARTS_H
#define MFFA_CORE_MFFA_MODEL_PARTS_H

#include "core/mffa/gaussian.h"
#include "core/mffa/lgffp.h"
#include "core/mffa/memory_bank.h"
#include "core/mffa/model.h"

struct mffa_model {
    uint64_t serial; /* no other model of this process has it */
    mffa_profile profile;
    mffa_provenance from;
    int c1, c2, c3, width;
    int64_t train_images;
    int64_t *layer3_channels, *gaussian_channels; /* [width], [profile.gaussian_channels], ascending */
    float *projection;                            /* [128, c2 + c3] */
    mffa_bank bank;
    mffa_gaussian gaussian;
};

/* The model's LGFFP on a network. */
mffa_lgffp mffa_model_lgffp(const mffa_model *m, const mffa_network *net);
/* An empty one; NULL out of memory. */
mffa_model *mffa_model_new(void);
/* Maps of n pictures [n, side, side] each, computed on the network's device from beginning to end; n is at most the network's batch. */
MFFA_MUST_USE mffa_code mffa_model_maps_on_device(const mffa_model *m, mffa_network *net, mffa_maps which, const float *images, int64_t n,
                                                  float *maps, float *nns, float *gaussian, mffa_err *err);
/* What is resident before a network is there: libtorch's code and its threads' pools, with a GPU CUDA's too; measured. */
static inline int64_t mffa_libraries_bytes(const mffa_device *d) { return INT64_C(1048576) * (mffa_device_is_gpu(d) ? 1000 : 120); }
/* Of a GPU's memory: what cuBLAS and cuDNN work in. */
static const int64_t mffa_workspace_bytes = INT64_C(64) << 20;

/* What an allocator keeps between pieces: measured on fits and evaluations of both profiles. */
static inline int64_t mffa_with_slack(int64_t bytes) { return bytes + bytes / 16; }

/* Do the profile's numbers fit these widths? */
MFFA_MUST_USE mffa_code mffa_model_check_widths(const mffa_model *m, mffa_err *err);

#endif

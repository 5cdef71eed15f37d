/* What a model is made of: seen by the files that make, store and use it (fit.c, model_file.c, model.c). */
#ifndef MFFA_CORE_MFFA_MODEL_PARTS_H
#define MFFA_CORE_MFFA_MODEL_PARTS_H

#include "core/mffa/gaussian.h"
#include "core/mffa/lgffp.h"
#include "core/mffa/memory_bank.h"
#include "core/mffa/model.h"

struct mffa_model {
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
/* Do the profile's numbers fit these widths? */
MFFA_MUST_USE mffa_code mffa_model_check_widths(const mffa_model *m, mffa_err *err);

#endif

/* AMC: the two maps compensate each other (paper, section on AMC; design section 3): M = blur(NNS map x Gaussian map). */
#ifndef MFFA_CORE_MFFA_AMC_H
#define MFFA_CORE_MFFA_AMC_H

#include "core/nn/tensor.h"

typedef enum mffa_maps { MFFA_MAPS_PRODUCT, MFFA_MAPS_NNS, MFFA_MAPS_GAUSSIAN } mffa_maps; /* the option `maps` (paper, Table 1) */

typedef struct mffa_amc { /* [B, 1, side, side] each */
    mffa_tensor *nns, *gaussian; /* brought to the picture's size */
    mffa_tensor *fused;          /* blurred: the anomaly map */
} mffa_amc;
/* nns [B, 1, g2, g2], gaussian [B, 1, G, G]; sigma in pixels of side, 0: no blur. */
mffa_amc mffa_amc_fuse(mffa_scope *s, mffa_tensor *nns, mffa_tensor *gaussian, int64_t side, double sigma, mffa_maps which);

#endif

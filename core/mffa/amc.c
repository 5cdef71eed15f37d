#include "core/mffa/amc.h"

mffa_amc mffa_amc_fuse(mffa_scope *s, mffa_tensor *nns, mffa_tensor *gaussian, int64_t side, double sigma, mffa_maps which) {
    mffa_amc a = {.nns = mffa_upsample(s, nns, side, side), .gaussian = mffa_upsample(s, gaussian, side, side)};
    mffa_tensor *map = which == MFFA_MAPS_NNS ? a.nns : which == MFFA_MAPS_GAUSSIAN ? a.gaussian : mffa_mul(s, a.nns, a.gaussian);
    a.fused = mffa_gaussian_blur(s, map, sigma);
    return a;
}

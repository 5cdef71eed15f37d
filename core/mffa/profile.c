#include "core/mffa/profile.h"

#include <math.h>
#include <string.h>

static const mffa_profile profiles[] = {
    {.name = "paper", .side = 256, .grid = 64, .blocks = 11, .gaussian_channels = 570, .ratio = 0.01, .lambda = 0.01, .sigma = 4},
    {.name = "small", .side = 256, .grid = 32, .blocks = 11, .gaussian_channels = 142, .ratio = 0.01, .lambda = 0.01, .sigma = 4},
};

mffa_code mffa_profile_named(const char *name, mffa_profile *out, mffa_err *err) {
    for (size_t i = 0; i < MFFA_COUNT(profiles); i++)
        if (!strcmp(profiles[i].name, name)) return *out = profiles[i], MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "profile \"%s\": expected paper or small", name);
}

mffa_code mffa_profile_check(const mffa_profile *p, mffa_err *err) {
    if (p->side < 64 || p->side > 1024 || p->side % 32)
        return mffa_fail(err, MFFA_EINVAL, "side is %d: expected a multiple of 32 from 64 to 1024", p->side);
    if (p->grid < 1 || p->grid > p->side / 4)
        return mffa_fail(err, MFFA_EINVAL, "grid is %d: expected 1 to %d (side / 4)", p->grid, p->side / 4);
    if (p->blocks < 0 || p->blocks > 11) return mffa_fail(err, MFFA_EINVAL, "blocks is %d: expected 0 to 11", p->blocks);
    if (p->gaussian_channels < 1) return mffa_fail(err, MFFA_EINVAL, "gaussian channels is %d: expected at least 1", p->gaussian_channels);
    if (!(p->ratio > 0 && p->ratio <= 1)) return mffa_fail(err, MFFA_EINVAL, "coreset ratio is %g: expected above 0, at most 1", p->ratio);
    if (!(p->lambda > 0 && isfinite(p->lambda))) return mffa_fail(err, MFFA_EINVAL, "lambda is %g: expected above 0", p->lambda);
    if (!(p->sigma >= 0 && p->sigma <= 64)) return mffa_fail(err, MFFA_EINVAL, "blur sigma is %g: expected 0 to 64 pixels", p->sigma);
    return MFFA_OK;
}

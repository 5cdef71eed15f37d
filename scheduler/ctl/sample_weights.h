/* The sample's untrained networks: see sample.h. */
#ifndef MFFA_SCHEDULER_CTL_SAMPLE_WEIGHTS_H
#define MFFA_SCHEDULER_CTL_SAMPLE_WEIGHTS_H

#include <stdint.h>
#include "core/base/progress.h"

/* Writes <folder>/backbone.safetensors and <folder>/transformer.safetensors; folder exists. */
MFFA_MUST_USE mffa_code mffa_sample_weights(const char *folder, const char *profile, uint64_t seed, const mffa_progress *p, mffa_err *err);
/* MFFA_EINVAL: no such profile. */
MFFA_MUST_USE mffa_code mffa_sample_weights_check(const char *profile, mffa_err *err);

#endif

/* What the sums are made of: seen by the files that grow them (gaussian.c on the host, gaussian_device.c). */
#ifndef MFFA_CORE_MFFA_GAUSSIAN_PARTS_H
#define MFFA_CORE_MFFA_GAUSSIAN_PARTS_H

#include "core/mffa/gaussian.h"

enum { MFFA_GAUSSIAN_SAMPLES = 4 }; /* training pictures kept, and random vectors made, to measure the error with */

struct mffa_gaussian_sums {
    int64_t positions, channels, images;
    int threads;
    double *mean;   /* [P, d] */
    float *scatter; /* [P, packed] */
    float *sample;  /* [MFFA_GAUSSIAN_SAMPLES, P, d], the first pictures */
};

#endif

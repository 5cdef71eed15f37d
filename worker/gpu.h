/* What the driver's management library (NVML) says about the GPU of a device setting: how busy it is and its memory, of all processes
 * together. The library comes with the driver and is looked for when the program runs; no CUDA context is made. */
#ifndef MFFA_WORKER_GPU_H
#define MFFA_WORKER_GPU_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mffa_gpu { /* zero-initialise */
    void *library, *handle;
    int (*utilization)(void *, void *), (*memory)(void *, void *), (*shutdown)(void);
} mffa_gpu;

/* device: as MFFA_DEVICE; visible: CUDA_VISIBLE_DEVICES, or NULL. False where there is nothing to tell: a cpu, no driver, no such GPU. */
bool mffa_gpu_open(mffa_gpu *g, const char *device, const char *visible);
void mffa_gpu_done(mffa_gpu *g);
/* busy: share of the driver's last sampling time (up to a second) in which a kernel ran, 0 to 1. False where it does not say (MIG). */
bool mffa_gpu_busy(const mffa_gpu *g, double *busy);
bool mffa_gpu_memory(const mffa_gpu *g, int64_t *used_bytes, int64_t *total_bytes);

#endif

/* A driver's management library with two GPUs and a part of one (MIG), under the real one's name: what worker/gpu.c asks, no more. */
#include <stdint.h>
#include <string.h>

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle);
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle);
int nvmlDeviceGetUtilizationRates(void *handle, unsigned percent[2]);
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long total_free_used[3]);

enum { NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static int gpus[3];
static int number(void *handle) { return (int)((int *)handle - gpus); }

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index > 1) return NOT_FOUND;
    *handle = &gpus[index];
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    const char *const names[] = {"GPU-a", "GPU-b", "MIG-c"};
    for (int i = 0; i < 3; i++)
        if (strcmp(uuid, names[i]) == 0) return *handle = &gpus[i], 0;
    return NOT_FOUND;
}

int nvmlDeviceGetUtilizationRates(void *handle, unsigned percent[2]) {
    if (number(handle) == 2) return NOT_SUPPORTED;
    percent[0] = number(handle) ? 75 : 25, percent[1] = 1;
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long total_free_used[3]) {
    uint64_t used = 1000u * (unsigned)(number(handle) + 1);
    total_free_used[0] = 80000, total_free_used[1] = 80000 - used, total_free_used[2] = used;
    return 0;
}

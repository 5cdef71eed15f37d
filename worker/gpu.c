#include "worker/gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of nvml.h, whose layout is the same since CUDA 5. */
typedef struct nvml_utilization { unsigned gpu, memory; } nvml_utilization; /* percent */
typedef struct nvml_memory { unsigned long long total, free, used; } nvml_memory;

enum { NAME_BYTES = 96 };

static bool find(void *library, const char *name, void *function) { /* where to put the function's address */
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found;
}

/* The n-th name of CUDA_VISIBLE_DEVICES, "" if it has no such one. */
static void nth_name(const char *visible, long n, char out[NAME_BYTES]) {
    for (; n > 0 && *visible; n--) visible += strcspn(visible, ","), visible += *visible == ',';
    snprintf(out, NAME_BYTES, "%.*s", (int)strcspn(visible, ","), visible);
}

static bool pick(mffa_gpu *g, long n, const char *visible) {
    int (*by_index)(unsigned, void **), (*by_uuid)(const char *, void **);
    char name[NAME_BYTES] = "", *end = NULL;
    if (!find(g->library, "nvmlDeviceGetHandleByIndex_v2", &by_index) || !find(g->library, "nvmlDeviceGetHandleByUUID", &by_uuid))
        return false;
    if (!visible) return by_index((unsigned)n, &g->handle) == 0;
    nth_name(visible, n, name);
    long index = strtol(name, &end, 10);
    if (end != name && !*end && index >= 0) return by_index((unsigned)index, &g->handle) == 0;
    return *name && by_uuid(name, &g->handle) == 0; /* GPU-..., MIG-... */
}

static bool start(mffa_gpu *g) {
    int (*init)(void);
    return find(g->library, "nvmlInit_v2", &init) && find(g->library, "nvmlDeviceGetUtilizationRates", &g->utilization) &&
           find(g->library, "nvmlDeviceGetMemoryInfo", &g->memory) && init() == 0 && find(g->library, "nvmlShutdown", &g->shutdown);
}

bool mffa_gpu_open(mffa_gpu *g, const char *device, const char *visible) {
    long n = strncmp(device, "cuda:", 5) == 0 ? strtol(device + 5, NULL, 10) : 0;
    if (strcmp(device, "cpu") == 0) return false;
    g->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (g->library && start(g) && pick(g, n, visible)) return true;
    mffa_gpu_done(g);
    return false;
}

void mffa_gpu_done(mffa_gpu *g) {
    if (g->shutdown) (void)g->shutdown();
    if (g->library) dlclose(g->library);
    *g = (mffa_gpu){0};
}

bool mffa_gpu_busy(const mffa_gpu *g, double *busy) {
    nvml_utilization u = {0};
    if (!g->handle || g->utilization(g->handle, &u) != 0) return false;
    *busy = u.gpu / 100.0;
    return true;
}

bool mffa_gpu_memory(const mffa_gpu *g, int64_t *used_bytes, int64_t *total_bytes) {
    nvml_memory m = {0};
    if (!g->handle || g->memory(g->handle, &m) != 0) return false;
    *used_bytes = (int64_t)m.used, *total_bytes = (int64_t)m.total;
    return true;
}

#include "worker/memory.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/base/cleanup.h"

static int64_t number_in(const char *path) { /* INT64_MAX: no such file, or "max" */
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "re");
    long long v = 0;
    return f && fscanf(f, "%lld", &v) == 1 && v > 0 ? v : INT64_MAX;
}

/* The least limit of folder and the folders above it, down to `mount`. */
static int64_t least_upwards(const char *mount, const char *file, char *folder) {
    int64_t least = INT64_MAX;
    for (;;) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s%s/%s", mount, folder, file);
        int64_t v = number_in(path);
        if (v < least) least = v;
        char *slash = strrchr(folder, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

static int64_t cgroup_limit(void) {
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];
    int64_t least = INT64_MAX;
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *folder = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!folder) continue;
        *folder++ = '\0';
        if (strcmp(folder, "/") == 0) *folder = '\0';
        int64_t v = INT64_MAX;
        if (controllers[1] == '\0') v = least_upwards("/sys/fs/cgroup", "memory.max", folder);
        else if (strstr(controllers, "memory")) v = least_upwards("/sys/fs/cgroup/memory", "memory.limit_in_bytes", folder);
        if (v < least) least = v;
    }
    return least;
}

int64_t mffa_memory_limit_bytes(void) {
    int64_t machine = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), cgroup = cgroup_limit();
    return cgroup < machine ? cgroup : machine;
}

int64_t mffa_memory_peak_bytes(void) {
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lld kB", &kib) == 1) break;
    return (int64_t)kib * 1024;
}

void mffa_memory_peak_reset(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen("/proc/self/clear_refs", "we");
    if (f) (void)fputs("5", f);
}

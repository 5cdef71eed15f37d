#include "core/nn/cpus.h"

#include <sched.h>
#include <stdio.h>
#include "core/base/cleanup.h"

static int quota(void) { /* 0: no limit */
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    long long most, period;
    if (!f || fscanf(f, "%lld %lld", &most, &period) != 2 || most < 1 || period < 1) return 0; /* "max 100000" has no number first */
    long long n = (most + period - 1) / period;
    return n > 4096 ? 0 : (int)n;
}

int mffa_cpus(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set), limit = quota();
    if (limit && limit < n) n = limit;
    return n > 0 ? n : 1;
}

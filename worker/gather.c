#include "worker/gather.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/base/stats.h"
#include "worker/gpu.h"

static atomic_int executor_pid; /* 0: none yet */
static atomic_bool gpu_wanted;   /* the executor has one */
static const mffa_config *settings;

static void begin_kind(const char *kind) {
    static const char *const outcomes[] = {"done", "failed", "preempted", "cancelled", "fenced", "alone"};
    for (size_t i = 0; i < MFFA_COUNT(outcomes); i++) mffa_stat_add(MFFA_STAT_RUNS, kind, outcomes[i], 0);
    if (strcmp(kind, "evaluate") == 0 || strcmp(kind, "score") == 0) mffa_stat_add(MFFA_STAT_SCORED, kind, NULL, 0);
}

void mffa_gather_begin(const mffa_config *config) {
    static const mffa_stat zero[] = {MFFA_STAT_REDIS_ERRORS, MFFA_STAT_FENCED, MFFA_STAT_BEAT_FAILURES, MFFA_STAT_EXECUTOR_STARTS};
    for (size_t i = 0; i < MFFA_COUNT(zero); i++) mffa_stat_add(zero[i], NULL, NULL, 0);
    settings = config;
    mffa_stat_set(MFFA_STAT_BUSY, NULL, NULL, 0);
    mffa_stat_set(MFFA_STAT_WORKER_INFO, config->pool, config->device, 1);
    MFFA_AUTO(mffa_free_p) char *kinds = strdup(config->kinds);
    char *save = NULL;
    for (char *kind = kinds ? strtok_r(kinds, ", ", &save) : NULL; kind; kind = strtok_r(NULL, ", ", &save)) begin_kind(kind);
}

void mffa_gather_executor(pid_t pid, bool has_gpu) {
    atomic_store(&gpu_wanted, has_gpu);
    atomic_store(&executor_pid, pid);
}

/* What the driver does not tell (any more) is absent. Opened once: a driver that comes later needs another executor, too. */
static void gather_gpu(void) {
    static mffa_gpu gpu; /* the endpoint's thread alone */
    static bool tried;
    double busy = 0;
    int64_t used = 0, total = 0;
    if (!tried && (tried = atomic_load(&gpu_wanted))) (void)mffa_gpu_open(&gpu, settings->device, getenv("CUDA_VISIBLE_DEVICES"));
    mffa_stats_begin();
    mffa_stat_clear(MFFA_STAT_GPU_BUSY), mffa_stat_clear(MFFA_STAT_GPU_USED), mffa_stat_clear(MFFA_STAT_GPU_TOTAL);
    if (mffa_gpu_busy(&gpu, &busy)) mffa_stat_set(MFFA_STAT_GPU_BUSY, NULL, NULL, busy);
    if (mffa_gpu_memory(&gpu, &used, &total)) {
        mffa_stat_set(MFFA_STAT_GPU_USED, NULL, NULL, (double)used);
        mffa_stat_set(MFFA_STAT_GPU_TOTAL, NULL, NULL, (double)total);
    }
    mffa_stats_end();
}

void mffa_gather(void *ctx) {
    (void)ctx;
    char path[64];
    long long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", atomic_load(&executor_pid));
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d %lld", &pages) != 1) pages = 0;
    mffa_stat_set(MFFA_STAT_EXECUTOR_BYTES, NULL, NULL, (double)pages * (double)sysconf(_SC_PAGESIZE));
    gather_gpu();
}

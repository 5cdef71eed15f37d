#include "core/mffa/parallel.h"

#include <pthread.h>
#include <stdbool.h>

enum { MOST_THREADS = 256 };

typedef struct part {
    pthread_t thread;
    bool started;
    void (*piece)(void *ctx, int64_t from, int64_t to);
    void *ctx;
    int64_t from, to;
} part;

static void *run(void *arg) {
    part *p = arg;
    p->piece(p->ctx, p->from, p->to);
    return NULL;
}

void mffa_parallel(int threads, int64_t n, void (*piece)(void *ctx, int64_t from, int64_t to), void *ctx) {
    part parts[MOST_THREADS];
    int64_t count = threads < 1 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads;
    if (count > n) count = n;
    for (int64_t i = 0; i < count; i++) parts[i] = (part){.piece = piece, .ctx = ctx, .from = n * i / count, .to = n * (i + 1) / count};
    for (int64_t i = 1; i < count; i++) parts[i].started = !pthread_create(&parts[i].thread, NULL, run, &parts[i]);
    for (int64_t i = 0; i < count; i++)
        if (!parts[i].started) run(&parts[i]);
    for (int64_t i = 1; i < count; i++)
        if (parts[i].started) pthread_join(parts[i].thread, NULL);
}

/* Where the time of scoring goes, step by step, on any device: ./run bench steps.
 *   bench_steps WEIGHTS_FOLDER MODEL DEVICE PRECISION BATCH
 * Pictures are noise; every step waits for the device. The median of five rounds after one that is not counted. */
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "core/base/rng.h"
#include "core/mffa/gaussian_device.h"
#include "core/mffa/model_parts.h"
#include "core/nn/weights_kind.h"

enum { ROUNDS = 6, STEPS = 7 };
static const char *const names[STEPS] = {"backbone", "embedding", "nearest neighbours", "fusion and transformer", "Mahalanobis",
                                         "maps",     "all"};

typedef struct bench {
    const mffa_model *model;
    mffa_network *network;
    float *images;
    int64_t batch, began_us, us[STEPS][ROUNDS];
} bench;

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void lap(bench *b, mffa_scope *s, mffa_tensor *t, int step, int round) {
    float one;
    mffa_tensor *flat = mffa_reshape(s, t, 1, (int64_t[]){-1});
    mffa_tensor_read(s, mffa_narrow(s, flat, 0, 0, 1), MFFA_F32, &one, 1); /* waits */
    int64_t now = now_us();
    b->us[step][round] = now - b->began_us;
    b->began_us = now;
}

static mffa_code once(bench *b, mffa_scope *held, const mffa_bank_tensors *bank, const mffa_gaussian_tensors *gaussian, int round,
                      mffa_err *err) {
    int64_t side = b->model->profile.side, patches = side / 8, grid = b->model->profile.grid, n = b->batch, start = now_us();
    mffa_lgffp l = mffa_model_lgffp(b->model, b->network);
    mffa_scope *s = mffa_scope_nest(held);
    b->began_us = start;
    mffa_stages stages = mffa_network_stages(s, b->network, b->images, n, (int)side);
    lap(b, s, stages.stage[2], 0, round);
    mffa_tensor *rows = mffa_reshape(s, mffa_bank_embed(s, &stages), 2, (int64_t[]){n * patches * patches, b->model->bank.width});
    lap(b, s, rows, 1, round);
    mffa_tensor *nns = mffa_bank_nearest_on(s, bank, rows);
    mffa_drop(rows);
    lap(b, s, nns, 2, round);
    mffa_tensor *features = mffa_lgffp_forward(s, &l, &stages);
    lap(b, s, features, 3, round);
    mffa_tensor *distance = mffa_gaussian_distance_on(s, gaussian, features);
    lap(b, s, distance, 4, round);
    mffa_amc a =
        mffa_amc_fuse(s, mffa_reshape(s, nns, 4, (int64_t[]){n, 1, patches, patches}),
                      mffa_reshape(s, distance, 4, (int64_t[]){n, 1, grid, grid}), side, b->model->profile.sigma, MFFA_MAPS_PRODUCT);
    lap(b, s, a.fused, 5, round);
    b->us[6][round] = now_us() - start;
    mffa_scope_close(s);
    return mffa_scope_check(held, err);
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static mffa_code run(bench *b, mffa_err *err) {
    const mffa_device *d = mffa_network_device(b->network);
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *held = mffa_scope_open(d, MFFA_INFER);
    int64_t began = now_us();
    mffa_bank_tensors bank = mffa_bank_upload(held, &b->model->bank);
    mffa_gaussian_tensors gaussian = mffa_gaussian_upload(held, &b->model->gaussian);
    b->began_us = began;
    lap(b, held, gaussian.mean, 0, 0);
    printf("%-24s %10.2f ms once\n", "model to the device", (double)b->us[0][0] / 1e3);
    mffa_code rc = MFFA_OK;
    for (int round = 0; !rc && round < ROUNDS; round++) rc = once(b, held, &bank, &gaussian, round, err);
    for (int i = 0; !rc && i < STEPS; i++) {
        printf("%-24s %10.2f ms first", names[i], (double)b->us[i][0] / 1e3);
        qsort(b->us[i] + 1, ROUNDS - 1, sizeof b->us[i][0], ascending);
        printf(" %10.3f ms a picture\n", (double)b->us[i][1 + (ROUNDS - 1) / 2] / 1e3 / (double)b->batch);
    }
    return rc;
}

/* The folder's files by their kinds. */
static mffa_code find_weights(const char *folder, char backbone[PATH_MAX], char transformer[PATH_MAX], mffa_err *err) {
    char pattern[PATH_MAX];
    glob_t found = {0};
    mffa_code rc = MFFA_OK;
    snprintf(pattern, sizeof pattern, "%s/*.safetensors", folder);
    if (glob(pattern, 0, NULL, &found) != 0) return mffa_fail(err, MFFA_ENOTFOUND, "no *.safetensors in \"%s\"", folder);
    for (size_t i = 0; !rc && i < found.gl_pathc; i++) {
        mffa_weights_kind kind;
        rc = mffa_weights_kind_of(found.gl_pathv[i], &kind, err);
        if (!rc) snprintf(kind == MFFA_WEIGHTS_BACKBONE ? backbone : transformer, PATH_MAX, "%s", found.gl_pathv[i]);
    }
    globfree(&found);
    return rc;
}

int main(int argc, char **argv) {
    mffa_err err = {0};
    char backbone[PATH_MAX] = "", transformer[PATH_MAX] = "";
    if (argc != 6) return fprintf(stderr, "bench_steps WEIGHTS_FOLDER MODEL DEVICE PRECISION BATCH\n"), 2;
    mffa_model *m = NULL;
    bench b = {.batch = strtol(argv[5], NULL, 10)};
    mffa_network_options options = {.device = argv[3], .precision = argv[4], .batch = (int)b.batch};
    mffa_code rc = mffa_model_open(argv[2], &m, &err);
    if (!rc) rc = find_weights(argv[1], backbone, transformer, &err);
    if (!rc)
        rc = mffa_network_open(&(mffa_network_files){backbone, transformer}, mffa_model_profile(m)->blocks, &options, &b.network, &err);
    b.model = m;
    int64_t count = rc ? 0 : b.batch * 3 * m->profile.side * m->profile.side;
    mffa_rng r;
    mffa_rng_init(&r, 1, 1);
    b.images = mffa_alloc_array((size_t)count, sizeof *b.images);
    for (int64_t i = 0; i < count; i++) b.images[i] = (float)mffa_rng_below(&r, 256) / 255.0f;
    if (!rc) rc = run(&b, &err);
    if (!rc) {
        const mffa_device *d = mffa_network_device(b.network);
        mffa_device_memory memory = mffa_device_memory_of(d);
        printf("%s, %s, batch %lld", mffa_device_name(d), mffa_device_precision(d), (long long)b.batch);
        if (memory.total) printf(", tensors %.0f MiB", (double)memory.peak / 1048576);
        printf("\n");
    }
    if (rc) fprintf(stderr, "%s\n", err.msg);
    free(b.images);
    mffa_network_close(b.network);
    mffa_model_close(m);
    return rc ? 1 : 0;
}

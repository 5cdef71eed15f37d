/* ./run bench metrics: the figures of all pixels of many pictures, with bounded memory.
 *   bench_metrics PICTURES SIDE MEMORY_MIB FOLDER
 * Streams PICTURES maps of SIDE x SIDE through core/mffa/metrics with MEMORY_MIB for the pixels and spills to FOLDER. The values come in
 * 4096 levels, so that counts by level give AUROC and AUPRO in another way; the exit code is 1 when they disagree. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "core/mffa/metrics.h"

enum { LEVELS = 4096, MOST_SIDE = 1024 };
static const double limit = 0.3; /* of AUPRO */

typedef struct counts { /* by level */
    int64_t hits[LEVELS], misses[LEVELS];
    double overlap[LEVELS]; /* sum of 1 / (pixels of the region) */
    int64_t regions;
} counts;

/* A map of noise; every other picture has a square defect in which values are higher. */
static void draw(mffa_rng *r, int side, bool defect, float *map, uint8_t *mask, counts *c) {
    int size = side / 8 + (int)mffa_rng_below(r, (uint64_t)(side / 8)), x0 = (int)mffa_rng_below(r, (uint64_t)(side - size)),
        y0 = (int)mffa_rng_below(r, (uint64_t)(side - size));
    c->regions += defect;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            bool hit = defect && x >= x0 && x < x0 + size && y >= y0 && y < y0 + size;
            uint32_t word = mffa_rng_u32(r), level = ((word & 0xffff) + (word >> 16)) * (LEVELS / 2) >> 17;
            if (hit) level += LEVELS / 8;
            map[y * side + x] = (float)level;
            mask[y * side + x] = hit;
            if (hit) c->hits[level]++, c->overlap[level] += 1.0 / (size * size);
            else c->misses[level]++;
        }
}

static void figures_by_level(const counts *c, double *auroc, double *aupro) {
    double hits = 0, misses = 0, right = 0, above = 0, overlap = 0, area = 0;
    for (int i = 0; i < LEVELS; i++) hits += (double)c->hits[i], misses += (double)c->misses[i];
    for (int i = LEVELS; i-- > 0;) {
        double rate = above / misses, next = (above + (double)c->misses[i]) / misses, more = c->overlap[i] / (double)c->regions;
        right += (double)c->hits[i] * (misses - above - (double)c->misses[i] / 2);
        if (rate < limit) {
            double part = next > limit ? (limit - rate) / (next - rate) : 1; /* of this level's step, up to the limit */
            area += (next - rate) * part * (overlap + more * part / 2);
        }
        above += (double)c->misses[i], overlap += more;
    }
    *auroc = right / hits / misses;
    *aupro = area / limit;
}

static int64_t peak_bytes(void) {
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lld kB", &kib) == 1) break;
    return (int64_t)kib * 1024;
}

static mffa_code run(int64_t pictures, int side, int64_t memory, const char *folder, counts *c, mffa_figures *f, mffa_err *err) {
    MFFA_AUTO(mffa_metrics_close_p) mffa_metrics *m = NULL;
    size_t pixels = (size_t)side * (size_t)side;
    MFFA_AUTO(mffa_free_p) float *map = mffa_alloc_array(pixels, sizeof *map);
    MFFA_AUTO(mffa_free_p) uint8_t *mask = mffa_alloc_array(pixels, 1);
    mffa_rng r;
    mffa_rng_init(&r, 1, 0);
    if (!map || !mask) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_metrics_open(folder, memory, side, &m, err);
    for (int64_t i = 0; !rc && i < pictures; i++) {
        draw(&r, side, i % 2, map, mask, c);
        rc = mffa_metrics_add(m, "square", i % 2, (double)(i % 7), map, i % 2 ? mask : NULL, err);
    }
    return rc ? rc : mffa_metrics_finish(m, f, err);
}

int main(int argc, char **argv) {
    static counts c;
    mffa_err err = {0};
    MFFA_AUTO(mffa_figures_done) mffa_figures f = {0};
    double auroc, aupro;
    int64_t pictures = argc == 5 ? strtoll(argv[1], NULL, 10) : 0, side = argc == 5 ? strtoll(argv[2], NULL, 10) : 0;
    if (pictures < 2 || side < 16 || side > MOST_SIDE) return fprintf(stderr, "bench_metrics PICTURES SIDE MEMORY_MIB FOLDER\n"), 2;
    int64_t began = mffa_now_ms(), memory = strtoll(argv[3], NULL, 10) << 20;
    if (run(pictures, (int)side, memory, argv[4], &c, &f, &err)) return fprintf(stderr, "bench_metrics: %s\n", err.msg), 1;
    figures_by_level(&c, &auroc, &aupro);
    double seconds = (double)(mffa_now_ms() - began) / 1000;
    printf("%lld pictures of %lld x %lld, %.0f million pixels: %.1f s, %lld MiB for the pixels, peak memory %.0f MiB\n",
           (long long)pictures, (long long)side, (long long)side, (double)(pictures * side * side) / 1e6, seconds,
           (long long)(memory >> 20), (double)peak_bytes() / 1048576);
    printf("pixel AUROC %.12f, by counting levels %.12f\nAUPRO       %.12f, by counting levels %.12f\n", f.pixel_auroc.value, auroc,
           f.aupro.value, aupro);
    return fabs(f.pixel_auroc.value - auroc) < 1e-12 && fabs(f.aupro.value - aupro) < 1e-9 ? 0 : 1;
}

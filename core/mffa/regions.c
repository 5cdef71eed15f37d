#include "core/mffa/regions.h"

#include <string.h>

/* parent[] is a forest in which a pixel's parent never has the higher index: its roots are the regions' first pixels. */
static int32_t root(int32_t *parent, int32_t at) {
    while (parent[at] != at) {
        parent[at] = parent[parent[at]]; /* halve the path: amortised near-constant */
        at = parent[at];
    }
    return at;
}

static void join(int32_t *parent, int32_t a, int32_t b) {
    a = root(parent, a);
    b = root(parent, b);
    if (a < b) parent[b] = a;
    else parent[a] = b;
}

int32_t mffa_regions(const uint8_t *mask, int width, int height, int32_t *sizes, int32_t *work) {
    int32_t *parent = work, n = width * height, regions = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int32_t at = y * width + x;
            if (!mask[at]) continue;
            parent[at] = at;
            if (x && mask[at - 1]) join(parent, at, at - 1);
            if (!y) continue;
            if (mask[at - width]) join(parent, at, at - width);
            if (x && mask[at - width - 1]) join(parent, at, at - width - 1);
            if (x + 1 < width && mask[at - width + 1]) join(parent, at, at - width + 1);
        }
    memset(sizes, 0, (size_t)n * sizeof *sizes);
    for (int32_t at = 0; at < n; at++)
        if (mask[at]) {
            int32_t first = root(parent, at);
            regions += first == at;
            sizes[first]++;
        }
    for (int32_t at = n; at-- > 0;) /* from the end: the first pixel of a region, which holds the count, comes last */
        if (mask[at]) sizes[at] = sizes[root(parent, at)];
    return regions;
}

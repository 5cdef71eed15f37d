#include "core/mffa/coreset.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include "core/base/buf.h"
#include "core/mffa/kernels.h"

enum { W = MFFA_CORESET_WIDTH, BLOCK = 64 /* rows whose bounds share a maximum */ };
static const float eager = 0.96f; /* a block's rows whose bound is this near to its maximum are brought up to date together */
static const double slack = 1e-5, floor_slack = 2e-43;
static const float most_entry = 1e17f;

typedef struct search {
    const float *rows;
    int64_t n, blocks, leaves; /* leaves: blocks rounded up to a power of two */
    float *bound;              /* [n] squared distance (float32) to the first seen[i] centres; -1: chosen */
    int32_t *seen;             /* [n] */
    float *top;                /* [2 * leaves] tournament: top[leaves + b] is block b's greatest bound, top[1] the greatest of all */
    float *panels;             /* [panels, 128, 32] centres, in order of choice */
    int64_t *chosen;
    int32_t count;
} search;

static void search_done(search *s) {
    free(s->bound);
    free(s->seen);
    free(s->top);
    free(s->panels);
}

int64_t mffa_coreset_count(int64_t n, double ratio) {
    int64_t m = (int64_t)floor(ratio * (double)n);
    return m < 1 ? 1 : m > n ? n : m;
}

mffa_code mffa_coreset_check(const float *rows, int64_t n, int64_t m, int64_t first, mffa_err *err) {
    if (n < 1 || n > INT64_C(1) << 40 || m < 1 || m > n || m > INT32_MAX)
        return mffa_fail(err, MFFA_EINVAL, "cannot choose %lld of %lld rows: expected 1 to as many as there are, at most %d", (long long)m,
                         (long long)n, INT32_MAX);
    if (first < 0 || first >= n)
        return mffa_fail(err, MFFA_EINVAL, "first row is %lld, expected 0 to %lld", (long long)first, (long long)n - 1);
    for (int64_t i = 0; i < n * W; i++)
        if (!(fabsf(rows[i]) <= most_entry))
            return mffa_fail(err, MFFA_EINVAL, "projected patch %lld holds %g: expected finite values to +-%g (are the weights sane?)",
                             (long long)(i / W), (double)rows[i], (double)most_entry);
    return MFFA_OK;
}

static mffa_code search_init(search *s, const float *rows, int64_t n, int64_t m, int64_t *chosen, mffa_err *err) {
    *s = (search){.rows = rows, .n = n, .blocks = (n + BLOCK - 1) / BLOCK, .leaves = 1, .chosen = chosen};
    while (s->leaves < s->blocks) s->leaves *= 2;
    size_t panels = (size_t)(m + MFFA_PANEL - 1) / MFFA_PANEL, panel_bytes = sizeof(float) * W * MFFA_PANEL;
    s->bound = mffa_alloc_array((size_t)n, sizeof *s->bound);
    s->seen = calloc((size_t)n, sizeof *s->seen);
    s->top = mffa_alloc_array(2 * (size_t)s->leaves, sizeof *s->top);
    s->panels = aligned_alloc(64, panels * panel_bytes);
    if (!s->bound || !s->seen || !s->top || !s->panels)
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for a coreset of %lld of %lld patches", (long long)m, (long long)n);
    memset(s->panels, 0, panels * panel_bytes);
    for (int64_t i = 0; i < n; i++) s->bound[i] = INFINITY;
    for (int64_t i = 0; i < 2 * s->leaves; i++) s->top[i] = -1;
    return MFFA_OK;
}

static void block_update(search *s, int64_t b) {
    float most = -1;
    for (int64_t i = b * BLOCK; i < (b + 1) * BLOCK && i < s->n; i++)
        if (s->bound[i] > most) most = s->bound[i];
    int64_t at = s->leaves + b;
    s->top[at] = most;
    for (at /= 2; at; at /= 2) s->top[at] = s->top[2 * at] > s->top[2 * at + 1] ? s->top[2 * at] : s->top[2 * at + 1];
}

static void centre_add(search *s, int64_t row) {
    float *panel = s->panels + (size_t)(s->count / MFFA_PANEL) * W * MFFA_PANEL;
    for (int k = 0; k < W; k++) panel[k * MFFA_PANEL + s->count % MFFA_PANEL] = s->rows[row * W + k];
    s->chosen[s->count++] = row;
    s->bound[row] = -1;
    block_update(s, row / BLOCK);
}

/* Compare up to 4 rows with the centres that one of them has missed. */
static void rows_refresh(search *s, const int64_t *index, int n) {
    const float *rows[MFFA_PANEL_ROWS];
    float least[MFFA_PANEL_ROWS], d[MFFA_PANEL_ROWS][MFFA_PANEL];
    int32_t from = s->count;
    for (int r = 0; r < MFFA_PANEL_ROWS; r++) {
        int64_t i = index[r < n ? r : 0];
        rows[r] = s->rows + i * W;
        least[r] = s->bound[i];
        if (s->seen[i] < from) from = s->seen[i];
    }
    for (int32_t c = from - from % MFFA_PANEL; c < s->count; c += MFFA_PANEL) {
        mffa_kernel_distances(rows, s->panels + (size_t)c * W, d);
        int valid = s->count - c < MFFA_PANEL ? s->count - c : MFFA_PANEL;
        for (int r = 0; r < n; r++)
            for (int k = 0; k < valid; k++)
                if (d[r][k] < least[r]) least[r] = d[r][k];
    }
    for (int r = 0; r < n; r++) {
        s->bound[index[r]] = least[r];
        s->seen[index[r]] = s->count;
    }
}

static void block_refresh(search *s, int64_t b, float least) {
    int64_t wanted[MFFA_PANEL_ROWS];
    int n = 0;
    for (int64_t i = b * BLOCK; i < (b + 1) * BLOCK && i < s->n; i++) {
        if (s->bound[i] >= least && s->seen[i] < s->count) wanted[n++] = i;
        if (n == MFFA_PANEL_ROWS) {
            rows_refresh(s, wanted, n);
            n = 0;
        }
    }
    if (n) rows_refresh(s, wanted, n);
    block_update(s, b);
}

/* The block with the greatest bound. */
static int64_t block_top(const search *s) {
    int64_t at = 1;
    while (at < s->leaves) at = s->top[2 * at] >= s->top[2 * at + 1] ? 2 * at : 2 * at + 1;
    return at - s->leaves;
}

/* The next block from b on with a bound of at least `least`; blocks when there is none. */
static int64_t block_next(const search *s, int64_t b, float least) {
    if (b >= s->blocks) return s->blocks;
    int64_t at = s->leaves + b;
    while (s->top[at] < least) {
        while (at & 1) at /= 2; /* up from right children; the root is one as well */
        if (!at) return s->blocks;
        at++;
    }
    while (at < s->leaves) at = s->top[2 * at] >= least ? 2 * at : 2 * at + 1;
    return at - s->leaves;
}

/* Below this float32 distance a row cannot be the farthest in double when another has `most`. */
static float cut(float most) {
    double least = ((double)most - floor_slack) * (1 - slack) / (1 + slack) - floor_slack;
    return least <= 0 ? 0 : nextafterf((float)least, 0);
}

/* Bring rows up to date until all that can be the farthest are; returns the cut. */
static float settle(search *s) {
    for (;;) {
        int64_t b = block_top(s);
        float most = s->top[1], known = -1;
        for (int64_t i = b * BLOCK; i < (b + 1) * BLOCK && i < s->n; i++)
            if (s->seen[i] == s->count && s->bound[i] > known) known = s->bound[i];
        if (known < most) {
            block_refresh(s, b, eager * most);
            continue;
        }
        float least = cut(most);
        for (b = block_next(s, 0, least); b < s->blocks; b = block_next(s, b + 1, least)) block_refresh(s, b, least);
        return least; /* refreshing only lowers bounds: `most` is still the greatest, its row being up to date */
    }
}

static double distance(const float *a, const float *b) {
    double sum = 0;
    for (int k = 0; k < W; k++) {
        double d = (double)a[k] - (double)b[k];
        sum += d * d; /* this file is compiled without contraction to fused operations */
    }
    return sum;
}

/* The row's distance to all centres as defined: only centres that float32 cannot tell from the nearest are measured in double. */
static double exact(const search *s, int64_t row) {
    const float *rows[MFFA_PANEL_ROWS];
    float d[MFFA_PANEL_ROWS][MFFA_PANEL];
    for (int r = 0; r < MFFA_PANEL_ROWS; r++) rows[r] = s->rows + row * W;
    double most = ((double)s->bound[row] + floor_slack) * (1 + slack) / (1 - slack) + floor_slack, least = INFINITY;
    for (int32_t c = 0; c < s->count; c += MFFA_PANEL) {
        mffa_kernel_distances(rows, s->panels + (size_t)c * W, d);
        for (int k = 0; k < MFFA_PANEL && c + k < s->count; k++)
            if ((double)d[0][k] <= most) least = fmin(least, distance(rows[0], s->rows + s->chosen[c + k] * W));
    }
    return least;
}

/* All rows that are not chosen lie on centres: they follow in order of index. */
static void fill(search *s, int64_t m) {
    for (int64_t i = 0; s->count < m; i++)
        if (s->bound[i] >= 0) centre_add(s, i);
}

/* The farthest row of those with a bound of at least `least`, and its exact distance where more than one had to be measured (else
 * -1). */
static int64_t farthest(const search *s, float least, double *far) {
    int64_t best = -1;
    *far = -1;
    for (int64_t b = block_next(s, 0, least); b < s->blocks; b = block_next(s, b + 1, least))
        for (int64_t i = b * BLOCK; i < (b + 1) * BLOCK && i < s->n; i++) {
            if (s->bound[i] < least) continue;
            if (best < 0) {
                best = i;
                continue;
            }
            if (*far < 0) *far = exact(s, best);
            if (!memcmp(s->rows + i * W, s->rows + best * W, W * sizeof(float))) continue; /* a copy is as far, and comes later */
            double d = exact(s, i);
            if (d > *far) {
                *far = d;
                best = i;
            }
        }
    return best;
}

mffa_code mffa_coreset_choose(const float *rows, int64_t n, int64_t m, int64_t first, int64_t *chosen, const mffa_progress *progress,
                              mffa_err *err) {
    MFFA_AUTO(search_done) search s = {0};
    mffa_code rc = mffa_coreset_check(rows, n, m, first, err);
    if (!rc) rc = search_init(&s, rows, n, m, chosen, err);
    if (rc) return rc;
    for (int64_t b = 0; b < s.blocks; b++) block_update(&s, b);
    centre_add(&s, first);
    while (s.count < m) {
        rc = mffa_tick(progress, "coreset", s.count, m, err);
        if (rc) return rc;
        double far;
        int64_t next = farthest(&s, settle(&s), &far);
        assert(next >= 0);
        if (far == 0) fill(&s, m);
        else centre_add(&s, next);
    }
    return mffa_tick(progress, "coreset", m, m, err);
}

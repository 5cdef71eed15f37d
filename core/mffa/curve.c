#include "core/mffa/curve.h"

#include <string.h>
#include "core/base/buf.h"

static const double pro_limit = 0.3;

/* The part of the area under the overlap curve, up to the limit, that a rise by `overlap` between the rates x0 and x1 adds: a ramp
 * from x0 to x1 and a level from there to the limit. */
static double area_of_rise(double overlap, double x0, double x1) {
    if (x0 >= pro_limit) return 0;
    if (x1 <= pro_limit) return overlap * ((x1 - x0) / 2 + (pro_limit - x1));
    return overlap * (pro_limit - x0) * (pro_limit - x0) / (2 * (x1 - x0));
}

void mffa_curve_step(mffa_curve *c, double value, int64_t hits, int64_t misses, int64_t negatives_above, double overlap) {
    int64_t negatives_below = c->negatives - negatives_above - misses;
    c->half_pairs += (mffa_wide)hits * (mffa_wide)(2 * negatives_below + misses);
    c->positives_above += hits;
    int64_t called = c->positives_above + negatives_above + misses;
    c->precision_sum += (double)hits * ((double)c->positives_above / (double)called);
    /* F1 = 2 hits / (positives + called); compared as fractions, without rounding */
    if ((mffa_wide)c->positives_above * (mffa_wide)(c->positives + c->best_called) >=
        (mffa_wide)c->best_hits * (mffa_wide)(c->positives + called)) {
        c->best_hits = c->positives_above;
        c->best_called = called;
        c->best_threshold = value;
    }
    if (c->regions && c->negatives)
        c->overlap_sum += area_of_rise(overlap, (double)negatives_above / (double)c->negatives,
                                       (double)(negatives_above + misses) / (double)c->negatives);
}

double mffa_curve_auroc(const mffa_curve *c) { return (double)c->half_pairs / 2 / ((double)c->positives * (double)c->negatives); }
double mffa_curve_auprc(const mffa_curve *c) { return c->precision_sum / (double)c->positives; }
double mffa_curve_f1_max(const mffa_curve *c) { return 2 * (double)c->best_hits / (double)(c->positives + c->best_called); }
double mffa_curve_aupro(const mffa_curve *c) { return c->overlap_sum / (double)c->regions / pro_limit; }

mffa_code mffa_sweep_init(mffa_sweep *s, size_t count, mffa_err *err) {
    mffa_sweep made = {
        .types = calloc(count, sizeof *made.types), .touched = mffa_alloc_array(count, sizeof *made.touched), .count = count};
    if (!made.types || !made.touched) {
        mffa_sweep_done(&made);
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for the figures of %zu defect types", count);
    }
    *s = made;
    return MFFA_OK;
}

void mffa_sweep_done(mffa_sweep *s) {
    free(s->types);
    free(s->touched);
    *s = (mffa_sweep){0};
}

static void end_step(mffa_sweep *s) {
    int64_t normal_above = s->types[0].negatives_above, normal_here = s->types[0].misses;
    for (size_t i = 0; i < s->touched_count; i++) {
        mffa_sweep_type *t = &s->types[s->touched[i]];
        if (t->hits)
            mffa_curve_step(&t->curve, s->value, t->hits, t->misses + normal_here, t->negatives_above + normal_above, t->overlap);
        t->negatives_above += t->misses;
        t->hits = t->misses = 0;
        t->overlap = 0;
    }
    if (s->hits) mffa_curve_step(&s->all, s->value, s->hits, s->misses, s->negatives_above, s->overlap);
    s->negatives_above += s->misses;
    s->types[0].negatives_above += normal_here;
    s->types[0].misses = 0;
    s->hits = s->misses = 0;
    s->overlap = 0;
    s->touched_count = 0;
}

void mffa_sweep_add(mffa_sweep *s, double value, size_t type, int64_t region_size) {
    if (value != s->value) end_step(s);
    s->value = value;
    mffa_sweep_type *t = &s->types[type];
    if (type && !t->hits && !t->misses) s->touched[s->touched_count++] = type;
    if (!region_size) {
        t->misses++;
        s->misses++;
        return;
    }
    t->hits++;
    s->hits++;
    t->overlap += 1 / (double)region_size;
    s->overlap += 1 / (double)region_size;
}

void mffa_sweep_end(mffa_sweep *s) { end_step(s); }

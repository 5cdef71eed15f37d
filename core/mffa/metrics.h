/* Evaluation figures: exact, streaming, with bounded memory (design section 3, "Metrics").
 * Add every test picture once, then finish. Pixel figures are over all pixels of all pictures at S x S; ties count half.
 * AUPRO: per-region overlap integrated to FPR .3, regions 8-connected, all pictures pooled, interpolated at the limit (Bergmann et
 * al., "The MVTec Anomaly Detection Dataset", IJCV 2021). Pixels beyond what memory_bytes holds are sorted in files under
 * spill_dir; the space is checked first (MFFA_ENOSPC says how much is missing). One thread at a time. */
#ifndef MFFA_CORE_MFFA_METRICS_H
#define MFFA_CORE_MFFA_METRICS_H

#include <stdint.h>
#include "core/base/buf.h"

typedef struct mffa_metrics mffa_metrics;

typedef struct mffa_figure { /* a number, or why there is none */
    bool known;
    double value;
    const char *reason; /* static text when not known: "only normal pictures" */
} mffa_figure;

typedef struct mffa_type_figures { /* one defect type against all normal pictures */
    char type[128];
    int64_t images;
    mffa_figure image_auroc, pixel_auroc, aupro;
} mffa_type_figures;

typedef struct mffa_figures {
    int64_t images, normal, defect, masks;
    mffa_figure image_auroc, image_auprc, f1_max, f1_threshold;
    mffa_figure pixel_auroc, pixel_auprc, pixel_f1_max, pixel_f1_threshold, aupro;
    mffa_type_figures *types; /* owned; sorted by name, without the normal ones */
    size_t type_count;
} mffa_figures;
void mffa_figures_done(mffa_figures *f);

MFFA_MUST_USE mffa_code mffa_metrics_open(const char *spill_dir, int64_t memory_bytes, int side, mffa_metrics **out, mffa_err *err);
void mffa_metrics_close(mffa_metrics *m); /* removes its files */
static inline void mffa_metrics_close_p(mffa_metrics **m) { mffa_metrics_close(*m); }
/* label 0 or 1. map [side, side]. mask [side, side] (1 = defect), NULL: none; a normal picture needs none (all pixels normal);
 * a defective picture without mask counts for the image figures only. After a failure m is only good for close. */
MFFA_MUST_USE mffa_code mffa_metrics_add(mffa_metrics *m, const char *type, int label, double score, const float *map, const uint8_t *mask,
                                         mffa_err *err);
MFFA_MUST_USE mffa_code mffa_metrics_finish(mffa_metrics *m, mffa_figures *out, mffa_err *err);

/* The plain function behind image_auroc: n scores with labels 0/1; ties half. MFFA_EINVAL when one class is missing. */
MFFA_MUST_USE mffa_code mffa_auroc(const double *scores, const uint8_t *labels, size_t n, double *out, mffa_err *err);

#endif

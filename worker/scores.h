/* Scores of a run, picture by picture, and their document scores.msgpack (worker/README.md describes it field by field). */
#ifndef MFFA_WORKER_SCORES_H
#define MFFA_WORKER_SCORES_H

#include "core/mffa/metrics.h"
#include "core/mffa/model.h"

typedef struct mffa_scored { /* one picture; texts owned by the list */
    char *key, *type, *mask; /* mask NULL: none */
    char *heatmap;           /* name in the run folder; NULL: none was drawn */
    char *grey;              /* the same for the 16-bit grey map */
    int label;               /* 0 normal, 1 defect, -1 unknown */
    mffa_score score;
} mffa_scored;

typedef struct mffa_scores {
    const char *job, *kind;                  /* borrowed */
    const char *model_url, *model_sha256;    /* borrowed */
    mffa_figure threshold;                   /* what decisions go by */
    const char *threshold_from;              /* "field", "f1_max"; NULL without threshold */
    int side;                                /* S: what peaks are measured in */
    mffa_scored *items;
    size_t count, room;
} mffa_scores;

void mffa_scores_done(mffa_scores *s);
/* A new last item with these texts (copied). */
MFFA_MUST_USE mffa_code mffa_scores_add(mffa_scores *s, const char *key, const char *type, const char *mask, int label,
                                        const mffa_score *score, mffa_err *err);
/* The document, appended to out. */
MFFA_MUST_USE mffa_code mffa_scores_pack(const mffa_scores *s, mffa_buf *out, mffa_err *err);

#endif

/* What evaluate and score share: every picture through the model, maps into the spool, then heat maps, documents and report. */
#ifndef MFFA_WORKER_SCORING_H
#define MFFA_WORKER_SCORING_H

#include "worker/fitted.h"
#include "worker/heatmaps.h"
#include "worker/inputs.h"
#include "worker/job.h"

typedef struct mffa_scoring { /* zero-initialise */
    mffa_job *job;
    mffa_inputs inputs;
    mffa_fitted fitted;
    int64_t batch;         /* pictures that pass the network at once */
    const char *maps_name; /* "product", ... */
    mffa_maps maps_kind;
    mffa_map_spool spool;
    mffa_metrics *metrics; /* NULL: pictures without labels */
    mffa_figures figures;
    mffa_scores scores;
    mffa_buf typical;      /* float, one a picture: heat_range.h */
} mffa_scoring;

void mffa_scoring_done(mffa_scoring *s);
/* Data set, model and network; checks everything that can be checked before the first picture. */
MFFA_MUST_USE mffa_code mffa_scoring_open(mffa_scoring *s, mffa_job *j, mffa_dataset_use use, mffa_err *err);
/* All pictures. Phase: "score". */
MFFA_MUST_USE mffa_code mffa_scoring_run(mffa_scoring *s, mffa_err *err);
/* Documents, heat maps, report, manifest; the threshold stands in s->scores. */
MFFA_MUST_USE mffa_code mffa_scoring_conclude(mffa_scoring *s, mffa_err *err);

#endif

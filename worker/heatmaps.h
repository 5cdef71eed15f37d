/* The second pass of scoring: heat maps at the photographs' own sizes. Names of what was drawn go into the scores. */
#ifndef MFFA_WORKER_HEATMAPS_H
#define MFFA_WORKER_HEATMAPS_H

#include "worker/heat_range.h"
#include "worker/job.h"
#include "worker/map_spool.h"

typedef struct mffa_heatmaps {
    bool overlay; /* heatmaps/<key>.png */
    bool grey;    /* greymaps/<key>.png: 16 bit, value / grey_max * 65535 */
    mffa_heat_range range;
    double grey_max;
} mffa_heatmaps;

/* Names for all pictures: the key with .png instead of its ending; with .png behind the whole key where two would be the same. */
MFFA_MUST_USE mffa_code mffa_heatmaps_name(const mffa_heatmaps *h, mffa_scores *scores, mffa_err *err);
/* Draws and puts them; scores and spool are in the same order. Phase: "heatmaps". */
MFFA_MUST_USE mffa_code mffa_heatmaps_draw(const mffa_heatmaps *h, mffa_job *j, const mffa_scores *scores, const mffa_map_spool *maps,
                                           mffa_err *err);

#endif

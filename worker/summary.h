/* What a run found, in one structure with three faces: summary.json and summary.msgpack (the same document; worker/README.md
 * describes it field by field) and the facts that finish writes into the job's record. Everything in it is borrowed. */
#ifndef MFFA_WORKER_SUMMARY_H
#define MFFA_WORKER_SUMMARY_H

#include "core/base/json.h"
#include "core/mffa/metrics.h"
#include "core/mffa/model_difference.h"
#include "core/mffa/psg.h"
#include "worker/skipped.h"
#include "worker/timings.h"

typedef struct mffa_summary_finetune { const mffa_psg_params *params; const mffa_psg_result *result; } mffa_summary_finetune;
typedef struct mffa_summary_fit { int64_t train_images, bank_rows; } mffa_summary_fit;
typedef struct mffa_summary_verify {
    const char *model_url, *model_sha256;
    int64_t train_images;
    const mffa_model_difference *difference;
} mffa_summary_verify;
typedef struct mffa_summary_scoring {
    const mffa_figures *figures;                   /* NULL: pictures without labels */
    const mffa_figure *threshold;
    const char *threshold_from;                    /* "field", "f1_max", NULL */
    const char *model_url, *model_sha256, *maps;   /* maps: "product", ... */
    int64_t images;
    double heat_low, heat_high;                    /* map values at the ends of the heat maps' colours */
    double grey_max;                               /* map value that 65535 stands for in grey maps */
} mffa_summary_scoring;

typedef struct mffa_summary {
    const char *kind, *job, *nonce, *result;       /* result: URL of the run folder */
    int64_t run, created_ms;
    const char *dataset, *dataset_sha256;          /* of the listing: keys, sizes and versions */
    int64_t ignored;                               /* keys that are no images */
    const char *note;                              /* which run a reference was resolved to; NULL: none */
    const mffa_profile *profile;                   /* NULL for finetune */
    const mffa_provenance *from;                   /* weights */
    const char *device, *precision;
    const mffa_skipped *skipped;
    const mffa_timings *timings;
    mffa_need planned_memory;                      /* as announced before the work, 0: not */
    mffa_need peak_memory;                         /* resident in the executor, tensors on the GPU; 0: not known */
    const mffa_summary_finetune *finetune;         /* exactly one of the four */
    const mffa_summary_fit *fit;
    const mffa_summary_verify *verify;
    const mffa_summary_scoring *scoring;
} mffa_summary;

/* The document; closed by the caller. */
mffa_json *mffa_summary_document(const mffa_summary *s);

typedef struct mffa_facts { /* flat name, value list of texts, and the packed document */
    mffa_buf texts;         /* NUL-terminated, one after the other */
    mffa_buf summary;
} mffa_facts;
void mffa_facts_done(mffa_facts *f);
/* packed: the document as msgpack. The record takes MFFA_RECORD_SUMMARY_BYTES: a longer one stays in the run folder alone. Names of a
 * job's fields cannot be names of facts. */
enum { MFFA_RECORD_SUMMARY_BYTES = 65536 };
MFFA_MUST_USE mffa_code mffa_summary_facts(const mffa_summary *s, mffa_span packed, mffa_facts *out, mffa_err *err);

#endif

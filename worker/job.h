/* A claimed job inside the executor: its fields, its stores, the folder for its results, and what it found. One job file a kind; this
 * one holds what they share. Lives on the executor's main thread for the time of one run. */
#ifndef MFFA_WORKER_JOB_H
#define MFFA_WORKER_JOB_H

#include "core/base/progress.h"
#include "worker/engine.h"
#include "worker/inputs.h"
#include "worker/results.h"
#include "worker/summary.h"

typedef struct mffa_job {
    char id[64], kind[16], nonce[40];
    int64_t run;
    const mffa_json *fields;      /* borrowed from the message */
    mffa_engine *engine;
    const mffa_config *config;
    const char *folder;           /* of files in the making, this job's alone */
    mffa_progress progress;       /* goes to the supervisor, and into timings */
    const mffa_progress *outer;
    void (*listed)(void *ctx, const char *inputs_sha256); /* hears of the data set as this run found it; ctx is outer's; NULL: nobody */
    mffa_store *dataset, *output;
    mffa_results *results;
    bool skip_bad;                /* on_bad_image */
    mffa_skipped skipped;
    mffa_timings timings;
    mffa_buf note;                /* for people: which runs the references were resolved to, that the data set has changed */
    mffa_need planned;            /* as announced; 0: not yet */
    mffa_facts facts;
} mffa_job;

/* Reads the message (child.h: "run"), checks the URLs against MFFA_ALLOWED_URLS, opens the stores and the results' folder.
 * The job is for mffa_job_done in any case. folder, outer, message: borrowed. */
MFFA_MUST_USE mffa_code mffa_job_init(mffa_job *j, mffa_engine *engine, const mffa_json *message, const char *folder,
                                      const mffa_progress *outer, mffa_err *err);
void mffa_job_done(mffa_job *j);
/* Runs it to the end: every object is put and the manifest written. */
MFFA_MUST_USE mffa_code mffa_job_run(mffa_job *j, mffa_err *err);

/* Fields; missing or empty gives `otherwise`. */
const char *mffa_job_text(const mffa_job *j, const char *name, const char *otherwise);
MFFA_MUST_USE mffa_code mffa_job_int(const mffa_job *j, const char *name, int64_t min, int64_t max, int64_t *inout, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_job_num(const mffa_job *j, const char *name, double *inout, mffa_err *err);
/* One of the words of choices ("yes|no"). */
MFFA_MUST_USE mffa_code mffa_job_choice(const mffa_job *j, const char *name, const char *choices, const char *otherwise, const char **out,
                                        mffa_err *err);
/* The profile with what the job says instead of its numbers. */
MFFA_MUST_USE mffa_code mffa_job_profile(const mffa_job *j, mffa_profile *out, mffa_err *err);
/* MFFA_EDENIED when jobs may not name this URL. */
MFFA_MUST_USE mffa_code mffa_job_allows(const mffa_job *j, const char *name, const char *url, mffa_err *err);
/* The data set sorted out. That it differs from what an earlier run of this job found is noted. */
MFFA_MUST_USE mffa_code mffa_job_inputs(mffa_job *j, mffa_dataset_use use, mffa_inputs *out, mffa_err *err);
/* A path in the job's folder; freed by the caller; NULL out of memory. */
char *mffa_job_path(const mffa_job *j, const char *name);
/* The summary's parts that every kind has. */
mffa_summary mffa_job_summary(const mffa_job *j);
/* summary.json and summary.msgpack into the results, facts into the job, manifest last. */
MFFA_MUST_USE mffa_code mffa_job_conclude(mffa_job *j, const mffa_summary *s, mffa_err *err);

/* The kinds. */
MFFA_MUST_USE mffa_code mffa_job_finetune(mffa_job *j, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_job_fit(mffa_job *j, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_job_evaluate(mffa_job *j, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_job_score(mffa_job *j, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_job_verify(mffa_job *j, mffa_err *err);

#endif

/* The folder of one run of a job: <output>/<kind>-<job>/run-<run>-<nonce>/. Objects are put once and noted; finish writes
 * manifest.json as the last one. Nothing here publishes: that is the queue's finish call. One thread at a time. */
#ifndef MFFA_WORKER_RESULTS_H
#define MFFA_WORKER_RESULTS_H

#include "worker/manifest.h"

typedef struct mffa_results mffa_results;

/* Proves that the folder may be written, and removes folders that earlier runs of the job left unpublished. output is borrowed and
 * must outlive the results. */
MFFA_MUST_USE mffa_code mffa_results_open(mffa_store *output, const char *kind, const char *job, int64_t run, const char *nonce,
                                          mffa_results **out, mffa_err *err);
void mffa_results_close(mffa_results *r);
static inline void mffa_results_close_p(mffa_results **r) { mffa_results_close(*r); }
const char *mffa_results_url(const mffa_results *r); /* of the run folder */

/* The W3C traceparent that the manifest is to carry. */
void mffa_results_trace(mffa_results *r, const char *trace);

/* name: relative to the run folder. */
MFFA_MUST_USE mffa_code mffa_results_put(mffa_results *r, const char *name, mffa_span bytes, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_results_put_file(mffa_results *r, const char *name, const char *path, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_results_finish(mffa_results *r, mffa_err *err);
/* Removes what a failed run has put so far. */
MFFA_MUST_USE mffa_code mffa_results_discard(mffa_results *r, mffa_err *err);
/* The same for a run of another process, by its names; output is a URL. */
MFFA_MUST_USE mffa_code mffa_results_forget(const char *output, const char *kind, const char *job, int64_t run, const char *nonce,
                                            mffa_err *err);

#endif

/* manifest.json: the last object of a run folder, naming every other one with size and SHA-256. A folder without it is unfinished.
 *   {"v": 1, "kind": "fit", "job": "k4-18", "run": 2, "nonce": "...", "version": "0.1.0", "created_ms": 1767225600000,
 *    "trace": "00-...", (a job with the field trace)
 *    "objects": [{"key": "model.safetensors", "bytes": 123, "sha256": "..."}, ...]} */
#ifndef MFFA_WORKER_MANIFEST_H
#define MFFA_WORKER_MANIFEST_H

#include "core/base/digest.h"
#include "storage/store.h"
#include "storage/url.h"

#define MFFA_MANIFEST_KEY "manifest.json"

typedef struct mffa_manifest_object {
    char *key; /* relative to the run folder */
    int64_t bytes;
    char sha256[MFFA_SHA256_HEX];
} mffa_manifest_object;

typedef struct mffa_manifest {
    char kind[16], job[64], nonce[40];
    char trace[64]; /* W3C traceparent; "": none */
    int64_t run, created_ms;
    mffa_manifest_object *objects;
    size_t count, room;
} mffa_manifest;

void mffa_manifest_done(mffa_manifest *m);
MFFA_MUST_USE mffa_code mffa_manifest_add(mffa_manifest *m, const char *key, int64_t bytes, const char sha256[MFFA_SHA256_HEX],
                                          mffa_err *err);
const mffa_manifest_object *mffa_manifest_find(const mffa_manifest *m, const char *key); /* NULL: not in it */
MFFA_MUST_USE mffa_code mffa_manifest_write(const mffa_manifest *m, mffa_buf *out, mffa_err *err);
/* folder: key of the run folder in the store, "" for the store's own prefix. MFFA_ENOTFOUND without one, MFFA_EINVAL when it is none. */
MFFA_MUST_USE mffa_code mffa_manifest_read(mffa_store *s, const char *folder, mffa_manifest *out, mffa_err *err);

#endif

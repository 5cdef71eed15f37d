/* What an executor keeps between jobs: settings, the network and the model of the last job, hashes of weights already read.
 * Owned by the executor's main thread. */
#ifndef MFFA_WORKER_ENGINE_H
#define MFFA_WORKER_ENGINE_H

#include "core/base/config.h"
#include "core/base/digest.h"
#include "core/mffa/model.h"

typedef struct mffa_engine mffa_engine;

MFFA_MUST_USE mffa_code mffa_engine_open(const mffa_config *config, mffa_engine **out, mffa_err *err);
void mffa_engine_close(mffa_engine *e);
static inline void mffa_engine_close_p(mffa_engine **e) { mffa_engine_close(*e); }
const mffa_config *mffa_engine_config(const mffa_engine *e);
mffa_network_options mffa_engine_options(const mffa_engine *e);

/* A weights file on this machine, with what names its content. */
typedef struct mffa_pretrained_file {
    char *path; /* NULL: none; owned by whoever holds the struct */
    char name[128], sha256[MFFA_SHA256_HEX];
} mffa_pretrained_file;

/* The network of these files, opened or still warm; borrowed until the next call. transformer may be NULL when blocks is 0. */
MFFA_MUST_USE mffa_code mffa_engine_network(mffa_engine *e, const mffa_pretrained_file *backbone, const mffa_pretrained_file *transformer,
                                            int blocks, mffa_network **out, mffa_err *err);
/* Whether the configured device still answers: asked after MFFA_EDEVICE. */
bool mffa_engine_device_works(const mffa_engine *e);
/* Frees the model: before a job that makes one. */
void mffa_engine_forget_model(mffa_engine *e);
/* Frees network and model: before a job that needs the memory for itself. */
void mffa_engine_cool(mffa_engine *e);
/* The model in this file; sha256 is its content's. Borrowed until the next call. */
MFFA_MUST_USE mffa_code mffa_engine_model(mffa_engine *e, const char *path, const char *sha256, const mffa_model **out, mffa_err *err);
/* SHA-256 of a local file; a file of the same path and etag is not read again. */
MFFA_MUST_USE mffa_code mffa_engine_sha256(mffa_engine *e, const char *path, const char *etag, char out[MFFA_SHA256_HEX], mffa_err *err);

/* Bytes that a job may use: MFFA_MEMORY_BYTES, else the cgroup's limit, else the machine's memory. */
int64_t mffa_engine_memory_bytes(const mffa_engine *e);
/* Memory of the configured device: all 0 when it is no GPU, or not there. */
mffa_device_memory mffa_engine_device_memory(mffa_engine *e);
void mffa_engine_device_memory_reset(mffa_engine *e);

#endif

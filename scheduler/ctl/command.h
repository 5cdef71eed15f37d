/* The commands of mffactl: one file each, run with the words behind the command's name. */
#ifndef MFFA_SCHEDULER_CTL_COMMAND_H
#define MFFA_SCHEDULER_CTL_COMMAND_H

#include "core/base/config.h"
#include "scheduler/queue.h"
#include "storage/store.h"

typedef struct mffa_command {
    const mffa_config *config;
    int count;
    char **words;
} mffa_command;

#define MFFA_COMMAND_PRESIGN "presign" /* the first word of get, where --presign was given */

/* Each: MFFA_OK, or a failure whose text main prints. MFFA_ECANCELLED with an empty text: ended by Ctrl-C, all is said. */
MFFA_MUST_USE mffa_code mffa_command_sample(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_submit(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_watch(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_get(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_put(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_verify(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_weights(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_metrics(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_selftest(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_settings(const mffa_command *c, mffa_err *err);

/* The queue that the settings name. */
MFFA_MUST_USE mffa_code mffa_command_queue(const mffa_command *c, mffa_queue **out, mffa_err *err);

/* s3:// for the command that runs: copies lie in a temporary folder, which close removes. Called by main. */
MFFA_MUST_USE mffa_code mffa_command_storage_open(const mffa_command *c, mffa_err *err);
void mffa_command_storage_close(void);
/* A folder of this machine, absolute or not, as a store. */
MFFA_MUST_USE mffa_code mffa_command_folder(const char *dir, mffa_store **out, mffa_err *err);

#endif

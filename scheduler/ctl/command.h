/* The commands of mffactl: one file each, run with the words behind the command's name. */
#ifndef MFFA_SCHEDULER_CTL_COMMAND_H
#define MFFA_SCHEDULER_CTL_COMMAND_H

#include "core/base/config.h"
#include "scheduler/queue.h"

typedef struct mffa_command {
    const mffa_config *config;
    int count;
    char **words;
} mffa_command;

/* Each: MFFA_OK, or a failure whose text main prints. MFFA_ECANCELLED with an empty text: ended by Ctrl-C, all is said. */
MFFA_MUST_USE mffa_code mffa_command_sample(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_submit(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_watch(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_get(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_verify(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_weights(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_metrics(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_selftest(const mffa_command *c, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_command_settings(const mffa_command *c, mffa_err *err);

/* The queue that the settings name. */
MFFA_MUST_USE mffa_code mffa_command_queue(const mffa_command *c, mffa_queue **out, mffa_err *err);

#endif

#include <stdio.h>
#include <string.h>
#include "scheduler/ctl/command.h"

mffa_code mffa_command_settings(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf out = {0};
    bool markdown = c->count == 1 && strcmp(c->words[0], "--markdown") == 0;
    if (c->count && !markdown) return mffa_fail(err, MFFA_EINVAL, "settings does not know \"%s\": give --markdown or nothing", c->words[0]);
    if (markdown) mffa_config_table(&out);
    else mffa_config_help(MFFA_ANY, &out);
    mffa_code rc = mffa_buf_check(&out, err);
    if (!rc) fputs(mffa_buf_text(&out), stdout);
    return rc;
}

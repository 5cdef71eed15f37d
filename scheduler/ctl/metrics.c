#include <stdio.h>
#include "core/base/stats.h"
#include "scheduler/ctl/command.h"

mffa_code mffa_command_metrics(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf out = {0};
    if (c->count) return mffa_fail(err, MFFA_EINVAL, "metrics takes no word \"%s\"", c->words[0]);
    mffa_stats_table(&out);
    mffa_code rc = mffa_buf_check(&out, err);
    if (!rc) fputs(mffa_buf_text(&out), stdout);
    return rc;
}

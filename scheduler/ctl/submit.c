#include <stdio.h>
#include "scheduler/ctl/command.h"

mffa_code mffa_command_queue(const mffa_command *c, mffa_queue **out, mffa_err *err) {
    mffa_queue_options o = mffa_queue_options_of(c->config);
    return mffa_queue_open(&o, out, err);
}

mffa_code mffa_command_submit(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *ids = NULL;
    MFFA_AUTO(mffa_free_p) mffa_span *words = mffa_alloc_array((size_t)c->count, sizeof *words);
    if (!words) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (int i = 0; i < c->count; i++) words[i] = mffa_span_of(c->words[i]);
    mffa_code rc = mffa_command_queue(c, &q, err);
    if (!rc) rc = mffa_queue_call(q, false, "submit", words, (size_t)c->count, &ids, err);
    if (rc) return rc;
    if (mffa_reply_size(ids) == 0) puts(mffa_reply_text(ids, ""));
    for (size_t i = 0; i < mffa_reply_size(ids); i++) puts(mffa_reply_text(mffa_reply_at(ids, i), ""));
    return MFFA_OK;
}

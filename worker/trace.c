#include "worker/trace.h"

#include <stdio.h>
#include <string.h>
#include "core/base/log.h"

enum { AT = 3, DIGITS = 32 };

void mffa_trace_begin(const char *traceparent) {
    char id[DIGITS + 1];
    bool is_one = strncmp(traceparent, "00-", AT) == 0 && strspn(traceparent + AT, "0123456789abcdef") == DIGITS;
    snprintf(id, sizeof id, "%s", is_one ? traceparent + AT : "");
    mffa_log_trace(is_one ? id : NULL);
}

void mffa_trace_end(void) { mffa_log_trace(NULL); }

/* The trace that the job in hand belongs to, as its field `trace` says (W3C traceparent): log lines carry its id until the job ends. */
#ifndef MFFA_WORKER_TRACE_H
#define MFFA_WORKER_TRACE_H

/* traceparent: "00-<32 hex digits>-<16>-<2>"; anything else is no trace. */
void mffa_trace_begin(const char *traceparent);
void mffa_trace_end(void);

#endif

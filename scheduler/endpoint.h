/* The address (MFFA_LISTEN) where a daemon answers GET /metrics (Prometheus' text format), /healthz and /readyz (health.h: 200 or 503
 * and one line), served by a thread of its own. The one place that sees libmicrohttpd. */
#ifndef MFFA_SCHEDULER_ENDPOINT_H
#define MFFA_SCHEDULER_ENDPOINT_H

#include "core/base/config.h"

typedef struct mffa_endpoint mffa_endpoint;

/* listen: "127.0.0.1:9464", "[::1]:9464", ":9464" for all addresses, port 0 for a free one (the log says which); NULL or "": *out is
 * NULL and nothing listens. gather (NULL: none): called by the endpoint's thread before the numbers are written. */
MFFA_MUST_USE mffa_code mffa_endpoint_open(const char *listen, mffa_program who, void (*gather)(void *ctx), void *ctx,
                                           mffa_endpoint **out, mffa_err *err);
void mffa_endpoint_close(mffa_endpoint *e);
static inline void mffa_endpoint_close_p(mffa_endpoint **e) { mffa_endpoint_close(*e); }

/* What "--health" does: asks the daemon that listens there whether it is ready, prints its sentence, answers the exit code: 0 ready. */
int mffa_endpoint_ask(const char *listen);

#endif

/* TLS under a Redis connection, where hiredis was built with it (Debian 13's is, Debian 12's is not): the one place that sees OpenSSL's
 * TLS and hiredis_ssl. The server's certificate has to be signed by the authority and to name the host. */
#ifndef MFFA_SCHEDULER_REDIS_TLS_H
#define MFFA_SCHEDULER_REDIS_TLS_H

#include "core/base/err.h"

typedef struct mffa_redis_tls mffa_redis_tls;
struct redisContext;

/* Files in PEM. ca NULL: the system's authorities; cert and key NULL: the server asks for none. MFFA_EINVAL names the file;
 * MFFA_EUNSUPPORTED: not built in. */
MFFA_MUST_USE mffa_code mffa_redis_tls_open(const char *ca, const char *cert, const char *key, mffa_redis_tls **out, mffa_err *err);
void mffa_redis_tls_close(mffa_redis_tls *t);
/* The handshake on a fresh connection. MFFA_EDENIED: the certificate does not fit. */
MFFA_MUST_USE mffa_code mffa_redis_tls_start(mffa_redis_tls *t, struct redisContext *connection, const char *host, mffa_err *err);

#endif

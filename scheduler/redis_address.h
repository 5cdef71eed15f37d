/* Where Redis is: a URL, taken apart.
 *   redis://[user[:password]@]host[:port][,host[:port]...][/db]       one server, or some nodes of a Redis Cluster
 *   rediss://...                                                      the same over TLS
 *   redis+sentinel://[user[:password]@]host[:port][,...]/master[/db]  Sentinels (port 26379) that know the master by that name
 *   rediss+sentinel://...                                             the same, Sentinels and Redis over TLS
 *   unix://[user[:password]@]/path/to.sock[?db=n]
 * %XX is decoded in user, password and path; an IPv6 address stands in []. */
#ifndef MFFA_SCHEDULER_REDIS_ADDRESS_H
#define MFFA_SCHEDULER_REDIS_ADDRESS_H

#include "core/base/buf.h"

enum { MFFA_REDIS_NODES_MAX = 16 };

typedef struct mffa_redis_node {
    char host[256];
    int port; /* 0: none */
} mffa_redis_node;

typedef struct mffa_redis_address {
    char *path; /* NULL: nodes */
    mffa_redis_node node[MFFA_REDIS_NODES_MAX];
    size_t count;
    char *master; /* the nodes are Sentinels; NULL: they are Redis */
    char *user, *password;
    int db;
    bool tls;
} mffa_redis_address;

/* MFFA_EINVAL says what does not fit, without user and password; *out can be passed to done in any case. */
MFFA_MUST_USE mffa_code mffa_redis_address_parse(const char *url, mffa_redis_address *out, mffa_err *err);
void mffa_redis_address_done(mffa_redis_address *a);

#endif

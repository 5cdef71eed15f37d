/* A Redis connection: address, password, time-outs, reconnect, replies. The one place that sees hiredis.
 * Connects lazily; a lost connection is closed at once and reopened by the next command. Nothing is ever sent twice from here: the
 * caller knows what may be repeated. Passwords stand in no error text. One connection, one thread. The program ignores
 * SIGPIPE, as all of ours do: a server that went away is an error of the call. */
#ifndef MFFA_SCHEDULER_REDIS_H
#define MFFA_SCHEDULER_REDIS_H

#include "scheduler/queue.h"

typedef struct mffa_redis mffa_redis;

/* Checks the address (redis_address.h), reads password and certificate files; connects nothing. With several hosts each is tried in
 * turn. A node of a Redis Cluster that says where a key has moved to is followed (MOVED). While the queue's keys are on their way (ASK)
 * calls fail with MFFA_EIO, since a function that ran on one half of them would split the queue. Sentinels are asked for the master each
 * time a connection is made. */
MFFA_MUST_USE mffa_code mffa_redis_open(const mffa_queue_options *o, mffa_redis **out, mffa_err *err);
void mffa_redis_close(mffa_redis *r);
static inline void mffa_redis_close_p(mffa_redis **r) { mffa_redis_close(*r); }

/* One command, waiting at most wait_ms (0: 10 s) for its answer. An error answer comes back as the code that queue.h names, its text
 * unchanged in err. */
MFFA_MUST_USE mffa_code mffa_redis_command(mffa_redis *r, const mffa_span *words, size_t n, int64_t wait_ms, mffa_reply **out,
                                           mffa_err *err);

#endif

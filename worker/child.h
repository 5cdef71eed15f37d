/* The executor process, seen from the supervisor: started as this same program with a hidden first argument, spoken to over a
 * socket pair (wire.h). It dies with the supervisor: the kernel sends it SIGKILL, and its end of the pair closes.
 *   to it     {"do": "run", "job", "kind", "run", "nonce", "fields": {...}}   {"do": "cancel"}   {"do": "stop"}
 *   from it   {"is": "ready", "gpus": how many it finds}, once, before any other
 *             {"is": "progress", "phase", "done", "total"}
 *             {"is": "counts", "counts": list of mffa_stats_take}
 *             {"is": "done", "result": URL, "facts": {name: text}, "summary": hex of the msgpack document or absent}
 *             {"is": "failed", "code": "EINVAL", "text": sentence, "again": bool} */
#ifndef MFFA_WORKER_CHILD_H
#define MFFA_WORKER_CHILD_H

#include <sys/types.h>
#include "core/base/json.h"

#define MFFA_EXECUTOR_ARGUMENT "executor-process" /* argv[1]; then the descriptor, and the folder for its files */

typedef struct mffa_child {
    pid_t pid; /* 0: none runs */
    int fd;    /* of the socket pair; valid while pid is not 0 */
} mffa_child;

/* args: the program's own arguments, NULL-terminated, passed on so that the executor reads the same settings. */
MFFA_MUST_USE mffa_code mffa_child_start(mffa_child *c, const char *folder, char *const args[], mffa_err *err);
/* Kill if it still runs, and wait. how (NULL allowed): how it ended, as "was killed by SIGSEGV". */
void mffa_child_end(mffa_child *c, char how[128]);

#endif

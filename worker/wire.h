/* Messages between supervisor and executor: a JSON object each, with its length as four bytes, highest first, in front.
 * Each end of the socket pair is read by one thread and written by one thread. */
#ifndef MFFA_WORKER_WIRE_H
#define MFFA_WORKER_WIRE_H

#include "core/base/json.h"

enum { MFFA_WIRE_MAX_BYTES = 8 << 20 };

/* Blocks until it is written. MFFA_EIO when the other end is gone. */
MFFA_MUST_USE mffa_code mffa_wire_send(int fd, const mffa_json *message, mffa_err *err);
/* Blocks for a whole message, closed by the caller. MFFA_ENOTFOUND: the other end closed between messages; MFFA_EIO: within one. */
MFFA_MUST_USE mffa_code mffa_wire_receive(int fd, mffa_json **out, mffa_err *err);

#endif

/* A way to a TCP server on loopback that counts what passes and acts at a chosen moment: the client connects to the gate, the gate to the
 * server. While it acts nothing passes, and new connections wait: what happens then does not hang on anybody's speed. One at a time. */
#ifndef MFFA_TESTS_SUPPORT_TCP_GATE_H
#define MFFA_TESTS_SUPPORT_TCP_GATE_H

#include <stdint.h>

/* Opens it in front of 127.0.0.1:port; its own port. */
int mffa_gate_open(int port);
void mffa_gate_close(void);

typedef enum mffa_gate_way { MFFA_GATE_TO_SERVER, MFFA_GATE_TO_CLIENT } mffa_gate_way;
/* Once, as soon as `bytes` bytes have passed this way from now on, or, with text, a piece that has it: act(ctx). The piece passes first. */
void mffa_gate_at_bytes(mffa_gate_way way, int64_t bytes, void (*act)(void *ctx), void *ctx);
void mffa_gate_at_text(mffa_gate_way way, const char *text, void (*act)(void *ctx), void *ctx);
int mffa_gate_acted(void); /* times, since it was opened */

#endif

/* A server that does what it is told, for faults that no real server shows on demand. It listens on loopback and answers one request
 * after the other, each with the next step of its script; what it was asked is kept. Any number of connections; after the last step
 * every request is answered with 500 and a code that no test expects. One such server at a time. */
#ifndef MFFA_TESTS_SUPPORT_HTTP_SCRIPT_H
#define MFFA_TESTS_SUPPORT_HTTP_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

typedef struct mffa_step {
    const char *status;  /* "200 OK"; NULL: no answer, the connection is closed */
    /* Lines that end with \r\n; NULL: none. "{mark}" stands for the x-amz-meta-mffa-put of the last request that had one. */
    const char *headers;
    const char *body;    /* NULL: none */
    int64_t claims;      /* Content-Length, where it is not the body's; 0: the body's */
    enum { MFFA_THEN_KEEP, MFFA_THEN_CLOSE, MFFA_THEN_RESET, MFFA_THEN_DRIP, MFFA_THEN_SILENCE } then;
    /* DRIP: the body in single bytes, ten a second. SILENCE: nothing more until stop */
} mffa_step;

/* Starts it; its URL, "http://127.0.0.1:<port>". */
const char *mffa_script_start(const mffa_step *steps, size_t count);
void mffa_script_stop(void);
int mffa_script_requests(void);         /* so far */
const char *mffa_script_request(int i); /* request line and headers of the i-th, from 0; "" if there was none */
const char *mffa_script_body(int i);    /* its body, up to the first NUL and to 16 KiB */

#endif

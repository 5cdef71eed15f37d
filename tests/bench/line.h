/* A plain connection for the benchmark: what is put is sent in one piece, what comes is read line by line or as Redis' answers. Any
 * failure ends the program: there is nothing to measure then. */
#ifndef MFFA_TESTS_BENCH_LINE_H
#define MFFA_TESTS_BENCH_LINE_H

#include "core/base/buf.h"

typedef struct line {
    int fd;
    mffa_buf out;
    char in[1 << 16];
    size_t at, len;
} line;

void line_open(line *l, const char *socket_path, int port); /* socket_path NULL: port of this machine */
void line_close(line *l);
void line_put(line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void line_put_command(line *l, const char *const *words, size_t n); /* as Redis reads it */
void line_send(line *l);
/* One line without its end, valid until the next read. */
const char *line_read(line *l);
/* One whole answer of Redis; ends the program with its text if it is an error. */
void line_skip_answer(line *l);

#endif

#include "tests/bench/line.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static _Noreturn void fail(const char *what) {
    perror(what);
    exit(1);
}

void line_open(line *l, const char *socket_path, int port) {
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *l = (line){.fd = socket(socket_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (socket_path) snprintf(local.sun_path, sizeof local.sun_path, "%s", socket_path);
    else (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    int rc = socket_path ? connect(l->fd, (struct sockaddr *)&local, sizeof local) : connect(l->fd, (struct sockaddr *)&here, sizeof here);
    if (l->fd < 0 || rc != 0) fail("connect");
}

void line_close(line *l) {
    close(l->fd);
    mffa_buf_done(&l->out);
}

void line_put(line *l, const char *fmt, ...) {
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= (int)sizeof text) fail("too long");
    mffa_buf_put(&l->out, text, (size_t)n);
}

void line_put_command(line *l, const char *const *words, size_t n) {
    line_put(l, "*%zu\r\n", n);
    for (size_t i = 0; i < n; i++) line_put(l, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}

void line_send(line *l) {
    for (size_t at = 0; at < l->out.len;) {
        ssize_t n = send(l->fd, l->out.ptr + at, l->out.len - at, MSG_NOSIGNAL);
        if (n <= 0) fail("send");
        at += (size_t)n;
    }
    mffa_buf_clear(&l->out);
}

static void fill(line *l) {
    if (l->at > 0) memmove(l->in, l->in + l->at, l->len - l->at), l->len -= l->at, l->at = 0;
    ssize_t n = l->len < sizeof l->in ? recv(l->fd, l->in + l->len, sizeof l->in - l->len, 0) : -1;
    if (n <= 0) fail("receive");
    l->len += (size_t)n;
}

const char *line_read(line *l) {
    char *end;
    while (!(end = memmem(l->in + l->at, l->len - l->at, "\r\n", 2))) fill(l);
    const char *text = l->in + l->at;
    *end = '\0';
    l->at = (size_t)(end - l->in) + 2;
    return text;
}

static void skip_bytes(line *l, size_t n) {
    while (n > l->len - l->at) {
        n -= l->len - l->at;
        l->at = l->len = 0;
        fill(l);
    }
    l->at += n;
}

void line_skip_answer(line *l) {
    for (long left = 1; left > 0; left--) {
        const char *head = line_read(l);
        long n = atol(head + 1);
        if (*head == '-') fprintf(stderr, "%s\n", head), exit(1);
        if (*head == '*' && n > 0) left += n;
        if (*head == '$' && n >= 0) skip_bytes(l, (size_t)n + 2);
    }
}

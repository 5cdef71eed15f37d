#include "tests/support/tcp_gate.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/support/test.h"

enum { CONNECTIONS_MAX = 256, PIECE = 1 << 16 };

static struct {
    int listener, port, count;
    pthread_t acceptor, threads[CONNECTIONS_MAX];
    int clients[CONNECTIONS_MAX];
    pthread_mutex_t lock; /* guards what follows; held while something passes or the gate acts */
    mffa_gate_way way;
    int64_t left;     /* bytes; 0: not by bytes */
    const char *text; /* NULL: not by text */
    void (*act)(void *ctx);
    void *ctx;
    int acted;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool send_all(int fd, const char *at, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0) return false;
        at += n, len -= (size_t)n;
    }
    return true;
}

static bool is_the_moment(mffa_gate_way way, const char *piece, size_t len) {
    if (!gate.act || way != gate.way) return false;
    if (gate.text) return memmem(piece, len, gate.text, strlen(gate.text));
    gate.left -= (int64_t)len;
    return gate.left <= 0;
}

static bool pass(mffa_gate_way way, int from, int to) {
    char piece[PIECE];
    ssize_t n = recv(from, piece, sizeof piece, 0);
    if (n <= 0) return false;
    pthread_mutex_lock(&gate.lock);
    bool fine = send_all(to, piece, (size_t)n);
    if (is_the_moment(way, piece, (size_t)n)) {
        void (*act)(void *) = gate.act;
        gate.act = NULL;
        act(gate.ctx);
        gate.acted++;
    }
    pthread_mutex_unlock(&gate.lock);
    return fine;
}

static int reach_server(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)gate.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_lock(&gate.lock); /* not while the gate acts */
    bool fine = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    pthread_mutex_unlock(&gate.lock);
    if (fine) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static void *serve(void *ctx) {
    int client = *(int *)ctx, server = reach_server();
    struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    bool open = server >= 0;
    while (open && poll(p, 2, -1) > 0) {
        if (p[0].revents) open = pass(MFFA_GATE_TO_SERVER, client, server);
        if (open && p[1].revents) open = pass(MFFA_GATE_TO_CLIENT, server, client);
    }
    if (server >= 0) close(server);
    shutdown(client, SHUT_RDWR); /* closed when the gate is: its number stays its own until then */
    return NULL;
}

static void *accept_all(void *ctx) {
    (void)ctx;
    for (int fd; (fd = accept4(gate.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        int i = gate.count;
        if (i == CONNECTIONS_MAX) { close(fd); continue; }
        gate.clients[i] = fd;
        if (pthread_create(&gate.threads[i], NULL, serve, &gate.clients[i]) == 0) gate.count++;
    }
    return NULL;
}

int mffa_gate_open(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    gate.port = port, gate.count = 0, gate.acted = 0, gate.act = NULL;
    gate.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(gate.listener >= 0);
    assert_int_equal(bind(gate.listener, (struct sockaddr *)&at, sizeof at) | listen(gate.listener, 64), 0);
    assert_int_equal(getsockname(gate.listener, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(pthread_create(&gate.acceptor, NULL, accept_all, NULL), 0);
    return ntohs(at.sin_port);
}

void mffa_gate_close(void) {
    shutdown(gate.listener, SHUT_RDWR);
    pthread_join(gate.acceptor, NULL);
    close(gate.listener);
    for (int i = 0; i < gate.count; i++) {
        shutdown(gate.clients[i], SHUT_RDWR);
        pthread_join(gate.threads[i], NULL);
        close(gate.clients[i]);
    }
}

static void set(mffa_gate_way way, int64_t bytes, const char *text, void (*act)(void *ctx), void *ctx) {
    pthread_mutex_lock(&gate.lock);
    gate.way = way, gate.left = bytes, gate.text = text, gate.act = act, gate.ctx = ctx;
    pthread_mutex_unlock(&gate.lock);
}

void mffa_gate_at_bytes(mffa_gate_way way, int64_t bytes, void (*act)(void *ctx), void *ctx) { set(way, bytes, NULL, act, ctx); }
void mffa_gate_at_text(mffa_gate_way way, const char *text, void (*act)(void *ctx), void *ctx) { set(way, 0, text, act, ctx); }

int mffa_gate_acted(void) {
    pthread_mutex_lock(&gate.lock);
    int n = gate.acted;
    pthread_mutex_unlock(&gate.lock);
    return n;
}

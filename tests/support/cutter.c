#include "tests/support/cutter.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "tests/support/test.h"

struct mffa_cutter_state {
    atomic_int countdown; /* commands until the cut; 0: none is set or it is done */
    atomic_int how;
};

enum { COMMAND_BYTES = 1 << 20 };

static int bind_at(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    unlink(path); /* of an earlier one */
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 8) != 0) return -1;
    return fd;
}

static int connect_to(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* The length of the command that text begins with; 0: more bytes have to come. "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n" */
static size_t command_len(const char *text, size_t len) {
    const char *line = memchr(text, '\n', len);
    if (!line) return 0;
    size_t at = (size_t)(line - text) + 1;
    for (int words = atoi(text + 1); words > 0; words--) {
        line = memchr(text + at, '\n', len - at);
        if (!line) return 0;
        at = (size_t)(line - text) + 1 + (size_t)atol(text + at + 1) + 2;
        if (at > len) return 0;
    }
    return at;
}

static bool send_all(int fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n <= 0) return false;
        text += n, len -= (size_t)n;
    }
    return true;
}

/* One client until it or Redis goes, or the cut. A client of ours sends one command and waits for its answer. */
static void serve(mffa_cutter_state *s, int client, int redis) {
    static char text[COMMAND_BYTES];
    size_t len = 0;
    bool swallow = false;
    struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = redis, .events = POLLIN}};
    while (poll(p, 2, -1) > 0) {
        if (p[1].revents) {
            char reply[65536];
            ssize_t n = read(redis, reply, sizeof reply);
            if (n <= 0 || swallow || !send_all(client, reply, (size_t)n)) return;
        }
        if (!p[0].revents) continue;
        ssize_t n = read(client, text + len, sizeof text - len);
        if (n <= 0) return;
        len += (size_t)n;
        for (size_t command; len > 0 && (command = command_len(text, len)) > 0;) {
            bool cut = atomic_load(&s->countdown) > 0 && atomic_fetch_sub(&s->countdown, 1) == 1;
            if (cut && atomic_load(&s->how) == MFFA_CUT_COMMAND) return;
            swallow |= cut;
            if (!send_all(redis, text, command)) return;
            memmove(text, text + command, len - command);
            len -= command;
        }
    }
}

static void proxy(mffa_cutter_state *s, int listener, const char *redis_socket) {
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL), redis = connect_to(redis_socket);
        if (client >= 0 && redis >= 0) serve(s, client, redis);
        close(client), close(redis);
    }
}

void mffa_cutter_start(mffa_cutter *c, const mffa_test_redis *r) {
    static int count;
    snprintf(c->path, sizeof c->path, "%s/cut-%d.sock", r->dir, ++count);
    snprintf(c->url, sizeof c->url, "unix://%s", c->path);
    mffa_cutter_restart(c, r);
}

void mffa_cutter_restart(mffa_cutter *c, const mffa_test_redis *r) {
    c->state = mmap(NULL, sizeof *c->state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(c->state != MAP_FAILED);
    int listener = bind_at(c->path);
    assert_true(listener >= 0);
    pid_t parent = getpid();
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) proxy(c->state, listener, r->socket);
        _exit(1);
    }
    close(listener);
}

void mffa_cutter_stop(mffa_cutter *c) {
    kill(c->pid, SIGKILL), waitpid(c->pid, NULL, 0);
    munmap(c->state, sizeof *c->state);
    unlink(c->path);
}

void mffa_cutter_set(mffa_cutter *c, int n, mffa_cut how) {
    atomic_store(&c->state->how, (int)how);
    atomic_store(&c->state->countdown, n);
}

bool mffa_cutter_has_cut(const mffa_cutter *c) { return atomic_load(&c->state->countdown) == 0; }

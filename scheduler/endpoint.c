#include "scheduler/endpoint.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "core/base/log.h"
#include "core/base/stats.h"
#include "scheduler/health.h"

enum { CONNECTIONS = 32, CONNECTION_BYTES = 16384, TIMEOUT_S = 10, ASK_MS = 5000 };

struct mffa_endpoint {
    struct MHD_Daemon *daemon;
    mffa_program who;
    void (*gather)(void *ctx);
    void *ctx;
};

/* ---- addresses ---- */

typedef struct address { /* of "host:port"; host "" is every address of this machine */
    char host[64], port[8];
} address;

static mffa_code read_address(const char *text, address *out, mffa_err *err) {
    const char *colon = strrchr(text, ':'), *host = text;
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (len >= 2 && *host == '[' && host[len - 1] == ']') host++, len -= 2;
    else if (colon && memchr(text, ':', len)) colon = NULL; /* a bare IPv6 address: which colon is the port's? */
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || end == colon + 1 || *end || port < 0 || port > 65535 || len >= sizeof out->host)
        return mffa_fail(err, MFFA_EINVAL, "MFFA_LISTEN=\"%s\": expected address:port, [IPv6 address]:port or :port", text);
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    snprintf(out->port, sizeof out->port, "%ld", port);
    return MFFA_OK;
}

static mffa_code resolve(const char *text, bool to_listen, struct addrinfo **out, mffa_err *err) {
    address a;
    mffa_code rc = read_address(text, &a, err);
    if (rc) return rc;
    bool any = !*a.host || strcmp(a.host, "0.0.0.0") == 0 || strcmp(a.host, "::") == 0;
    const char *host = any && !to_listen ? NULL : *a.host ? a.host : "::"; /* NULL without AI_PASSIVE: the loopback */
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    int failed = getaddrinfo(host, a.port, &hints, out);
    if (!failed) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "MFFA_LISTEN=\"%s\": expected a numeric address (%s)", text, gai_strerror(failed));
}

static void free_addresses(struct addrinfo **a) {
    if (*a) freeaddrinfo(*a);
}

static int bound(const struct addrinfo *a, const char *text) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, only6 = *text != ':';
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof only6);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, CONNECTIONS) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static mffa_code open_socket(const char *text, int *out, mffa_err *err) {
    MFFA_AUTO(free_addresses) struct addrinfo *a = NULL;
    mffa_code rc = resolve(text, true, &a, err);
    if (rc) return rc;
    *out = bound(a, text);
    if (*out < 0 && *text == ':') { /* a machine without IPv6 */
        char v4[16];
        MFFA_AUTO(free_addresses) struct addrinfo *b = NULL;
        snprintf(v4, sizeof v4, "0.0.0.0%.7s", text);
        if (resolve(v4, true, &b, NULL) == MFFA_OK) *out = bound(b, v4);
    }
    return *out >= 0 ? MFFA_OK : mffa_fail(err, MFFA_EIO, "could not listen on MFFA_LISTEN=\"%s\": %s", text, strerror(errno));
}

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type, const mffa_buf *body) {
    struct MHD_Response *r = MHD_create_response_from_buffer(body->len, body->ptr, MHD_RESPMEM_MUST_COPY);
    if (!r) return MHD_NO;
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) MHD_add_response_header(r, "Allow", "GET, HEAD");
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static enum MHD_Result answer_line(struct MHD_Connection *c, unsigned status, const char *text) {
    MFFA_AUTO(mffa_buf_done) mffa_buf body = {0};
    mffa_buf_putf(&body, "%s\n", text);
    return answer(c, status, "text/plain; charset=utf-8", &body);
}

static enum MHD_Result answer_metrics(const mffa_endpoint *e, struct MHD_Connection *c) {
    MFFA_AUTO(mffa_buf_done) mffa_buf body = {0};
    if (e->gather) e->gather(e->ctx);
    mffa_stats_write(e->who, &body);
    if (body.failed) return answer_line(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
    return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                              const char *data, size_t *size, void **state) {
    (void)version, (void)data, (void)state;
    char why[256];
    if (*size) return *size = 0, MHD_YES; /* a body: nobody wants it */
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) return answer_line(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    if (strcmp(url, "/metrics") == 0) return answer_metrics(ctx, c);
    if (strcmp(url, "/healthz") == 0) {
        bool alive = mffa_health_is_alive(why, sizeof why);
        return answer_line(c, alive ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, why);
    }
    if (strcmp(url, "/readyz") == 0) {
        bool ready = mffa_health_is_ready(why, sizeof why);
        return answer_line(c, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, why);
    }
    return answer_line(c, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz");
}

/* ---- the daemon ---- */

static int port_of(int fd) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0) return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

/* Its thread gets no signal: the main thread waits for them. */
static struct MHD_Daemon *start(mffa_endpoint *e, int fd) {
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    struct MHD_OptionItem options[] = {{MHD_OPTION_LISTEN_SOCKET, fd, NULL},
                                       {MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, NULL},
                                       {MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, NULL},
                                       {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, NULL},
                                       {MHD_OPTION_END, 0, NULL}};
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, handle, e, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return d;
}

mffa_code mffa_endpoint_open(const char *listen, mffa_program who, void (*gather)(void *ctx), void *ctx, mffa_endpoint **out,
                             mffa_err *err) {
    *out = NULL;
    if (!listen || !*listen) return MFFA_OK;
    int fd = -1;
    mffa_code rc = open_socket(listen, &fd, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_endpoint_close_p) mffa_endpoint *e = calloc(1, sizeof *e);
    if (e) *e = (mffa_endpoint){.who = who, .gather = gather, .ctx = ctx};
    int port = port_of(fd);
    if (e) e->daemon = start(e, fd);
    if (!e || !e->daemon) {
        close(fd);
        return mffa_fail(err, MFFA_EIO, "could not start the thread that listens on \"%s\"", listen);
    }
    const char *program = who == MFFA_WORKER ? "mffa-worker" : "mffa-scheduler";
    mffa_stat_set(MFFA_STAT_BUILD_INFO, program, MFFA_VERSION, 1);
    mffa_log(MFFA_INFO, "endpoint.started", mffa_str("listen", listen), mffa_int("port", port));
    *out = MFFA_TAKE(e);
    return MFFA_OK;
}

void mffa_endpoint_close(mffa_endpoint *e) {
    if (e && e->daemon) MHD_stop_daemon(e->daemon);
    free(e);
}

/* ---- the other side ---- */

static bool wait_for(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, ASK_MS) == 1;
}

static bool exchange(int fd, const struct addrinfo *a, char *out, size_t room) {
    static const char question[] = "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n";
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS) return false;
    if (!wait_for(fd, POLLOUT) || send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)sizeof question - 1) return false;
    size_t len = 0;
    for (ssize_t n; len < room - 1 && wait_for(fd, POLLIN); len += (size_t)n)
        if ((n = recv(fd, out + len, room - 1 - len, 0)) <= 0) break;
    out[len] = '\0';
    return len > 0;
}

int mffa_endpoint_ask(const char *listen) {
    MFFA_AUTO(free_addresses) struct addrinfo *a = NULL;
    mffa_err err = {0};
    char reply[2048] = "";
    if (!listen || !*listen) return fputs("MFFA_LISTEN is not set: nothing answers\n", stderr), 1;
    if (resolve(listen, false, &a, &err)) return fprintf(stderr, "%s\n", err.msg), 1;
    for (const struct addrinfo *at = a; at && !*reply; at = at->ai_next) {
        MFFA_AUTO(mffa_close_fd_p) int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || !exchange(fd, at, reply, sizeof reply)) reply[0] = '\0';
    }
    if (!*reply) return fprintf(stderr, "nothing answers on \"%s\"\n", listen), 1;
    const char *body = strstr(reply, "\r\n\r\n"), *status = strchr(reply, ' ');
    fputs(body ? body + 4 : reply, stdout);
    return status && strncmp(status, " 200", 4) == 0 ? 0 : 1;
}

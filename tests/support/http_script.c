#include "tests/support/http_script.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "tests/support/test.h"

enum { REQUESTS_MAX = 64, CONNECTIONS_MAX = 64, HEAD_MAX = 16384 };

static struct {
    const mffa_step *steps;
    size_t count;
    int listener, connections;
    pthread_t acceptor, threads[CONNECTIONS_MAX];
    int sockets[CONNECTIONS_MAX];
    char url[64];
    pthread_mutex_t lock; /* guards sockets, asked, heads, bodies, mark */
    int asked;
    char *heads[REQUESTS_MAX], *bodies[REQUESTS_MAX];
    char mark[64];
    atomic_bool stopping;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *header(const char *head, const char *name) {
    for (const char *at = strchr(head, '\n'); at; at = strchr(at + 1, '\n'))
        if (strncasecmp(at + 1, name, strlen(name)) == 0 && at[1 + strlen(name)] == ':') return at + 1 + strlen(name) + 2;
    return NULL;
}

/* One request's head and the first bytes of its body; the rest is read and thrown away. false: the connection has ended. */
static bool read_request(int fd, char *head, char *body) {
    size_t n = 0;
    char *end = NULL;
    while (!end) {
        ssize_t got = n + 1 < HEAD_MAX ? recv(fd, head + n, HEAD_MAX - 1 - n, 0) : 0;
        if (got <= 0) return false;
        n += (size_t)got;
        head[n] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    const char *length = header(head, "Content-Length");
    size_t kept = (size_t)(head + n - end - 4);
    int64_t left = (length ? strtoll(length, NULL, 10) : 0) - (int64_t)kept;
    memcpy(body, end + 4, kept);
    *end = '\0';
    for (char waste[65536]; left > 0;) {
        ssize_t got = recv(fd, waste, left < (int64_t)sizeof waste ? (size_t)left : sizeof waste, 0);
        if (got <= 0) return false;
        size_t more = (size_t)got < HEAD_MAX - 1 - kept ? (size_t)got : HEAD_MAX - 1 - kept;
        memcpy(body + kept, waste, more);
        kept += more;
        left -= got;
    }
    body[kept] = '\0';
    return true;
}

static mffa_step note_request(const char *head, const char *body) {
    static const mffa_step last = {"500 End Of Script", NULL, "<Error><Code>EndOfScript</Code></Error>", 0, MFFA_THEN_KEEP};
    pthread_mutex_lock(&server.lock);
    mffa_step step = (size_t)server.asked < server.count ? server.steps[server.asked] : last;
    const char *mark = header(head, "x-amz-meta-mffa-put");
    if (mark) snprintf(server.mark, sizeof server.mark, "%.*s", (int)strcspn(mark, "\r"), mark);
    if (server.asked < REQUESTS_MAX) server.heads[server.asked] = strdup(head), server.bodies[server.asked] = strdup(body);
    server.asked++;
    pthread_mutex_unlock(&server.lock);
    return step;
}

static void send_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) return;
        bytes += n, len -= (size_t)n;
    }
}

static void put_headers(mffa_buf *out, const char *headers) {
    const char *mark = strstr(headers, "{mark}");
    if (mark) mffa_buf_putf(out, "%.*s%s%s", (int)(mark - headers), headers, server.mark, mark + 6);
    else mffa_buf_puts(out, headers);
}

static void send_answer(int fd, const mffa_step *s, bool with_body) {
    MFFA_AUTO(mffa_buf_done) mffa_buf head = {0};
    const char *body = s->body ? s->body : "";
    mffa_buf_putf(&head, "HTTP/1.1 %s\r\n", s->status);
    put_headers(&head, s->headers ? s->headers : "");
    mffa_buf_putf(&head, "Content-Length: %lld\r\n\r\n", (long long)(s->claims ? s->claims : (int64_t)strlen(body)));
    send_all(fd, mffa_buf_text(&head), head.len);
    if (!with_body) return;
    if (s->then != MFFA_THEN_DRIP) return send_all(fd, body, strlen(body));
    for (; *body && !atomic_load(&server.stopping); body++) send_all(fd, body, 1), mffa_sleep_ms(100);
}

static bool act(int fd, const mffa_step *s, bool with_body) {
    if (s->status) send_answer(fd, s, with_body);
    if (s->then == MFFA_THEN_RESET) {
        mffa_sleep_ms(50); /* what was sent before arrives; a reset throws away what is still on its way */
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    }
    while (s->then == MFFA_THEN_SILENCE && !atomic_load(&server.stopping)) mffa_sleep_ms(20);
    return s->status && (s->then == MFFA_THEN_KEEP || s->then == MFFA_THEN_DRIP);
}

static void *serve(void *ctx) {
    int *socket_of_mine = ctx, fd = *socket_of_mine;
    char head[HEAD_MAX], body[HEAD_MAX];
    while (read_request(fd, head, body)) {
        mffa_step step = note_request(head, body);
        if (!act(fd, &step, strncmp(head, "HEAD ", 5) != 0)) break;
    }
    pthread_mutex_lock(&server.lock);
    *socket_of_mine = -1;
    pthread_mutex_unlock(&server.lock);
    close(fd);
    return NULL;
}

static void *accept_all(void *ctx) {
    (void)ctx;
    for (int fd; (fd = accept(server.listener, NULL, NULL)) >= 0;) {
        int i = server.connections;
        if (i == CONNECTIONS_MAX) { close(fd); continue; }
        server.sockets[i] = fd;
        if (pthread_create(&server.threads[i], NULL, serve, &server.sockets[i]) == 0) server.connections++;
    }
    return NULL;
}

const char *mffa_script_start(const mffa_step *steps, size_t count) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    server.steps = steps, server.count = count, server.asked = 0, server.connections = 0, server.mark[0] = '\0';
    atomic_store(&server.stopping, false);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(server.listener >= 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&at, sizeof at) | listen(server.listener, CONNECTIONS_MAX), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&at, &len), 0);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&server.acceptor, NULL, accept_all, NULL), 0);
    return server.url;
}

void mffa_script_stop(void) {
    atomic_store(&server.stopping, true);
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.acceptor, NULL);
    close(server.listener);
    for (int i = 0; i < server.connections; i++) {
        pthread_mutex_lock(&server.lock);
        if (server.sockets[i] >= 0) shutdown(server.sockets[i], SHUT_RDWR);
        pthread_mutex_unlock(&server.lock);
        pthread_join(server.threads[i], NULL);
    }
    for (int i = 0; i < REQUESTS_MAX; i++) {
        free(MFFA_TAKE(server.heads[i]));
        free(MFFA_TAKE(server.bodies[i]));
    }
}

int mffa_script_requests(void) {
    pthread_mutex_lock(&server.lock);
    int n = server.asked;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static const char *kept(char *const texts[], int i) {
    pthread_mutex_lock(&server.lock);
    const char *text = i >= 0 && i < REQUESTS_MAX && texts[i] ? texts[i] : "";
    pthread_mutex_unlock(&server.lock);
    return text;
}

const char *mffa_script_request(int i) { return kept(server.heads, i); }
const char *mffa_script_body(int i) { return kept(server.bodies, i); }

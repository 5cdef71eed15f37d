#include "tests/support/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "tests/support/test.h"

int mffa_test_http(int port, const char *method, const char *path, mffa_buf *out) {
    MFFA_AUTO(mffa_close_fd_p) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char question[256], piece[4096];
    mffa_buf_clear(out);
    if (port == 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return 0;
    int n = snprintf(question, sizeof question, "%s %s HTTP/1.0\r\n\r\n", method, path);
    assert_int_equal(send(fd, question, (size_t)n, MSG_NOSIGNAL), n);
    for (ssize_t got; (got = recv(fd, piece, sizeof piece, 0)) > 0;) mffa_buf_put(out, piece, (size_t)got);
    int status = 0;
    return sscanf(mffa_buf_text(out), "HTTP/%*s %d", &status) == 1 ? status : 0;
}

int mffa_test_http_port(const char *log) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    if (mffa_buf_read_file(&text, log, 1 << 24, NULL)) return 0;
    const char *line = strstr(mffa_buf_text(&text), "endpoint.started"), *port = line ? strstr(line, "\"port\":") : NULL;
    return port ? atoi(port + strlen("\"port\":")) : 0;
}

double mffa_test_sample(const mffa_buf *page, const char *series) {
    size_t len = strlen(series);
    for (const char *at = mffa_buf_text(page); (at = strstr(at, series)); at += len)
        if (at > page->ptr && at[-1] == '\n' && at[len] == ' ') return atof(at + len);
    return -1;
}

void mffa_test_promtool(const mffa_buf *page) {
    if (system("command -v promtool >/dev/null") != 0) return (void)puts("promtool is not here: the format is not checked by it");
    const char *body = strstr(mffa_buf_text(page), "\r\n\r\n");
    FILE *tool = popen("promtool check metrics 2>&1", "w");
    assert_non_null(tool), assert_non_null(body);
    fputs(body + 4, tool);
    assert_int_equal(pclose(tool), 0);
}

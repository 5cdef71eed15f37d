/* Preloaded into a worker (tests/worker/test_crash.c): counts what the process does that outlives it, and kills it right after the chosen
 * one.
 * Such are what it sends to a server, and every change below one folder. Supervisor and executor note them in one mapped file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/support/crash_page.h"

static struct crash_page *page(void) {
    static struct crash_page *seen;
    if (seen) return seen;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, getenv("MFFA_TEST_CRASH"), O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) abort();
    close(fd);
    return seen = at;
}

/* A name that is the same in the next life: random digits as a star. */
static void put_lasting(char *out, size_t room, const char *text) {
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (const char *at = text; *at && n + 1 < room;) {
        size_t digits = strspn(at, hex);
        out[n++] = digits < 16 ? *at : '*';
        at += digits < 16 ? 1 : digits;
    }
    out[n] = '\0';
}

/* The operation has happened: nothing of the process comes after it. Of a row of like ones the first two count. */
static void after(const char *verb, const char *what) {
    static _Thread_local char last[CRASH_POINT_BYTES];
    static _Thread_local int again;
    struct crash_page *p = page();
    char point[CRASH_POINT_BYTES];
    if (!atomic_load(&p->on)) return;
    int n = snprintf(point, sizeof point, "%s ", verb);
    put_lasting(point + n, sizeof point - (size_t)n, what);
    again = strcmp(point, last) == 0 ? again + 1 : 0;
    memcpy(last, point, sizeof last);
    if (again >= 2) return;
    int at = atomic_fetch_add(&p->noted, 1);
    if (at < CRASH_POINTS) memcpy(p->point[at], point, sizeof point);
    if (strcmp(point, p->target) != 0 || atomic_fetch_add(&p->seen, 1) + 1 != p->nth) return;
    atomic_store(&p->killed, getpid());
    kill(getpid(), SIGKILL);
}

/* ---- what goes to a server ---- */

static int is_server(int fd) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getpeername(fd, (struct sockaddr *)&a, &len) != 0) return 0;
    if (a.ss_family != AF_UNIX) return a.ss_family == AF_INET || a.ss_family == AF_INET6;
    return len > offsetof(struct sockaddr_un, sun_path) && ((struct sockaddr_un *)&a)->sun_path[0]; /* not a pair within the worker */
}

/* "mffa_claim", "BLPOP", "PUT /bucket/key": enough to tell one from another. */
static void after_sending(const char *text, size_t len) {
    char word[64] = "";
    const char *call = memmem(text, len, "mffa_", 5), *line = *text == '*' ? memchr(text, '$', len) : text;
    if (!call && line && *line == '$') line = memchr(line, '\n', len - (size_t)(line - text)), line = line ? line + 1 : NULL;
    const char *at = call ? call : line ? line : text;
    size_t room = len - (size_t)(at - text), n = 0;
    while (n < room && n + 1 < sizeof word && at[n] > ' ') word[n] = at[n], n++;
    after("sent", word);
}

ssize_t send(int fd, const void *text, size_t len, int flags) {
    ssize_t n = syscall(SYS_sendto, fd, text, len, flags, NULL, 0);
    if (n > 0 && is_server(fd)) after_sending(text, (size_t)n);
    return n;
}

/* ---- what changes below the folder ---- */

/* The name below the job's own folder in that folder (itself: "."), NULL elsewhere. */
static const char *below(int folder, const char *name, char *path, size_t room) {
    const char *root = getenv("MFFA_TEST_CRASH_BELOW");
    char link[64];
    ssize_t n = 0;
    int saved = errno;
    if (*name != '/') {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        n = folder == AT_FDCWD ? -1 : readlink(link, path, room - 1);
        errno = saved;
        if (n < 0) return NULL;
    }
    snprintf(path + n, room - (size_t)n, "%s%s", n && *name ? "/" : "", name);
    if (strncmp(path, root, strlen(root)) != 0) return NULL;
    const char *slash = strchr(path + strlen(root), '/');
    return slash ? slash + 1 : ".";
}

static void after_change(const char *verb, int folder, const char *name) {
    char path[4096];
    const char *at = below(folder, name, path, sizeof path);
    if (at) after(verb, at);
}

ssize_t write(int fd, const void *text, size_t len) {
    ssize_t n = syscall(SYS_write, fd, text, len);
    if (n > 0 && is_server(fd)) after_sending(text, (size_t)n);
    else if (n > 0) after_change("wrote", fd, "");
    return n;
}

static int changed(long rc, const char *verb, int folder, const char *name) {
    if (rc >= 0) after_change(verb, folder, name);
    return (int)rc;
}

int openat(int folder, const char *name, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, int) : 0;
    va_end(ap);
    long fd = syscall(SYS_openat, folder, name, flags, mode);
    return flags & O_CREAT ? changed(fd, "made", folder, name) : (int)fd;
}

int fsync(int fd) { return changed(syscall(SYS_fsync, fd), "synced", fd, ""); }
int mkdirat(int folder, const char *name, mode_t mode) { return changed(syscall(SYS_mkdirat, folder, name, mode), "made", folder, name); }
int unlinkat(int folder, const char *name, int flags) {
    return changed(syscall(SYS_unlinkat, folder, name, flags), "removed", folder, name);
}
int linkat(int from, const char *old, int to, const char *name, int flags) {
    return changed(syscall(SYS_linkat, from, old, to, name, flags), "named", to, name);
}
int renameat(int from, const char *old, int to, const char *name) {
    return changed(syscall(SYS_renameat2, from, old, to, name, 0), "named", to, name);
}
int renameat2(int from, const char *old, int to, const char *name, unsigned flags) {
    return changed(syscall(SYS_renameat2, from, old, to, name, flags), "named", to, name);
}

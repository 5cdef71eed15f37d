#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { ARGS_MAX = 256 };

static _Noreturn void become_executor(int fd, pid_t supervisor, char *folder, char *const args[]) {
    char number[16], *argv[ARGS_MAX + 5] = {"mffa-worker", MFFA_EXECUTOR_ARGUMENT, number, folder};
    snprintf(number, sizeof number, "%d", fd);
    for (int i = 0; args[i] && i < ARGS_MAX; i++) argv[i + 4] = args[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) _exit(1); /* it died before the line above */
    fcntl(fd, F_SETFD, 0);
    setenv("OMP_WAIT_POLICY", "passive", 0); /* threads that spin while a neighbour has their core take twice as long */
    execv("/proc/self/exe", argv);
    _exit(127);
}

mffa_code mffa_child_start(mffa_child *c, const char *folder, char *const args[], mffa_err *err) {
    int pair[2];
    MFFA_AUTO(mffa_free_p) char *path = strdup(folder);
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return mffa_fail(err, MFFA_EIO, "could not make a socket pair: %s", strerror(errno));
    pid_t self = getpid(), pid = fork();
    if (pid == 0) become_executor(pair[1], self, path, args);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return mffa_fail(err, MFFA_ENOMEM, "could not start the executor: %s", strerror(errno));
    }
    *c = (mffa_child){pid, pair[0]};
    return MFFA_OK;
}

static void describe(int status, char how[128]) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        snprintf(how, 128, "was killed by SIGKILL (out of memory? a smaller MFFA_BATCH or a smaller side needs less)");
    else if (WIFSIGNALED(status)) snprintf(how, 128, "was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    else snprintf(how, 128, "ended with exit code %d", WEXITSTATUS(status));
}

void mffa_child_end(mffa_child *c, char how[128]) {
    int status = 0;
    if (c->pid == 0) return;
    kill(c->pid, SIGKILL); /* one that has ended already keeps the status that it ended with */
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) continue;
    close(c->fd);
    *c = (mffa_child){0, -1};
    if (how) describe(status, how);
}

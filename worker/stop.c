#include "worker/stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

static int fd = -1;
static bool asked; /* main thread only */

static void quit_now(int signal_number) {
    (void)signal_number;
    _exit(1);
}

mffa_code mffa_stop_open(mffa_err *err) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of that write */
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? MFFA_OK : mffa_fail(err, MFFA_EIO, "cannot listen for signals: %s", strerror(errno));
}

int mffa_stop_fd(void) { return fd; }

bool mffa_stop_asked(void) {
    struct signalfd_siginfo info;
    if (asked || read(fd, &info, sizeof info) != sizeof info) return asked;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGTERM, quit_now);
    signal(SIGINT, quit_now);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return asked = true;
}

void mffa_stop_sleep(int64_t ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (!mffa_stop_asked()) (void)poll(&p, 1, (int)ms);
}

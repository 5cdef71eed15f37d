#include "worker/work_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "core/base/rng.h"

#define PREFIX "mffa-worker-"

static int remove_below(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type;
    if (at->level > 0) (void)remove(path);
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    (void)remove(path);
    return 0;
}

void mffa_work_dir_empty(const char *path) { (void)nftw(path, remove_below, 16, FTW_DEPTH | FTW_PHYS); }

static mffa_code make_folders(const char *base, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = strdup(base);
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (char *at = path + 1;; at++) {
        at += strcspn(at, "/");
        char end = *at;
        *at = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return mffa_fail(err, MFFA_EDENIED, "MFFA_WORK_DIR=\"%s\": cannot make it: %s", base, strerror(errno));
        if (!end) return MFFA_OK;
        *at = end;
    }
}

/* The lock of a living worker cannot be had. A folder without any lock yet is one that starts right now. */
static void remove_if_dead(const char *base, const char *name) {
    MFFA_AUTO(mffa_free_p) char *folder = NULL;
    MFFA_AUTO(mffa_free_p) char *file = NULL;
    if (asprintf(&folder, "%s/%s", base, name) < 0) return (void)(folder = NULL);
    if (asprintf(&file, "%s/lock", folder) < 0) return (void)(file = NULL);
    MFFA_AUTO(mffa_close_fd_p) int fd = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_dead(const char *base) {
    DIR *dir = opendir(base);
    if (!dir) return;
    for (const struct dirent *e; (e = readdir(dir));)
        if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) == 0) remove_if_dead(base, e->d_name);
    closedir(dir);
}

/* The lock is held before the folder gets the name that others look for. */
static mffa_code make_locked(const char *base, const char *chance, mffa_work_dir *w, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf hidden = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf lock = {0};
    mffa_buf_putf(&hidden, "%s/.%s", base, chance);
    mffa_buf_putf(&lock, "%s/.%s/lock", base, chance);
    if (hidden.failed || lock.failed) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (mkdir(hidden.ptr, 0700) != 0)
        return mffa_fail(err, MFFA_EDENIED, "MFFA_WORK_DIR=\"%s\": cannot write into it: %s", base, strerror(errno));
    w->lock = open(lock.ptr, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (w->lock < 0 || flock(w->lock, LOCK_EX | LOCK_NB) != 0 || rename(hidden.ptr, w->path) != 0)
        return mffa_fail(err, MFFA_EIO, "MFFA_WORK_DIR=\"%s\": cannot lock a folder in it: %s", base, strerror(errno));
    return MFFA_OK;
}

mffa_code mffa_work_dir_open(const char *given, mffa_work_dir *out, mffa_err *err) {
    char chance[17];
    mffa_work_dir w = {.lock = -1};
    mffa_code rc = make_folders(given, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_free_p) char *base = realpath(given, NULL); /* URLs of files in it are absolute */
    if (!base) return mffa_fail(err, MFFA_EDENIED, "MFFA_WORK_DIR=\"%s\": cannot use it: %s", given, strerror(errno));
    remove_dead(base);
    rc = mffa_random_hex(chance, 8, err);
    if (rc) return rc;
    if (asprintf(&w.path, "%s/" PREFIX "%s", base, chance) < 0) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    rc = make_locked(base, chance, &w, err);
    if (rc) {
        if (w.lock >= 0) close(w.lock);
        free(w.path);
        return rc;
    }
    *out = w;
    return MFFA_OK;
}

void mffa_work_dir_close(mffa_work_dir *w) {
    if (!w->path) return;
    (void)nftw(w->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    close(w->lock);
    free(w->path);
    *w = (mffa_work_dir){.lock = -1};
}

#include "storage/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK };

/* mkdir -p: every step may exist already, also made by someone else at the same time. */
static mffa_code make_root(const mffa_file_store *s, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = strdup(s->root);
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (char *at = path + 1;; at++) {
        at += strcspn(at, "/");
        bool last = *at == '\0';
        *at = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST) return mffa_file_fail(s, "", "cannot make the folder", errno, err);
        if (last) return MFFA_OK;
        *at = '/';
    }
}

static mffa_code open_root(const mffa_file_store *s, bool create, int *out, mffa_err *err) {
    int fd = open(s->root, FOLDER_FLAGS);
    if (fd < 0 && errno == ENOENT && create) {
        mffa_code rc = make_root(s, err);
        if (rc) return rc;
        fd = open(s->root, FOLDER_FLAGS);
    }
    if (fd < 0) return mffa_file_fail(s, "", create ? "cannot write into" : "cannot open", errno, err);
    *out = fd;
    return MFFA_OK;
}

static mffa_code step_into(const mffa_file_store *s, const char *real_root, const char *key, const char *segment, bool create, int *folder,
                           mffa_err *err) {
    int fd = openat(*folder, segment, FOLDER_FLAGS);
    if (fd < 0 && errno == ENOENT && create) {
        if (mkdirat(*folder, segment, 0777) == 0) (void)fsync(*folder); /* some file systems have no fsync of folders */
        else if (errno != EEXIST) return mffa_file_fail(s, key, "cannot make the folder of", errno, err);
        fd = openat(*folder, segment, FOLDER_FLAGS);
    }
    if (fd < 0) return mffa_file_fail(s, key, create ? "cannot open the folder of" : "cannot open", errno, err);
    close(*folder);
    *folder = fd;
    return mffa_file_check_inside(s, real_root, key, fd, err);
}

mffa_code mffa_file_open_folder(const mffa_file_store *s, const char *key, bool create, int *out, const char **name, mffa_err *err) {
    MFFA_AUTO(mffa_close_fd_p) int folder = -1;
    MFFA_AUTO(mffa_free_p) char *real_root = NULL;
    mffa_code rc = open_root(s, create, &folder, err);
    if (!rc) rc = mffa_file_real_root(s, &real_root, err);
    const char *at = key;
    for (const char *slash; !rc && (slash = strchr(at, '/')); at = slash + 1) {
        MFFA_AUTO(mffa_free_p) char *segment = strndup(at, (size_t)(slash - at));
        rc = segment ? step_into(s, real_root, key, segment, create, &folder, err) : mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    if (rc) return rc;
    *out = folder;
    folder = -1;
    *name = at;
    return MFFA_OK;
}

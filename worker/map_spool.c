#include "worker/map_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

mffa_code mffa_map_spool_open(const char *folder, int side, mffa_map_spool *out, mffa_err *err) {
    char path[4200];
    snprintf(path, sizeof path, "%s/maps-XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return mffa_fail(err, MFFA_EIO, "could not make a file in \"%s\": %s", folder, strerror(errno));
    (void)unlink(path);
    *out = (mffa_map_spool){.fd = fd, .side = side};
    return MFFA_OK;
}

void mffa_map_spool_close(mffa_map_spool *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

static int64_t map_bytes(const mffa_map_spool *s) { return (int64_t)s->side * s->side * (int64_t)sizeof(float); }

mffa_code mffa_map_spool_add(mffa_map_spool *s, const float *maps, int64_t n, mffa_err *err) {
    int64_t bytes = n * map_bytes(s), start = s->count * map_bytes(s);
    for (int64_t at = 0; at < bytes;) {
        ssize_t done = pwrite(s->fd, (const char *)maps + at, (size_t)(bytes - at), start + at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0)
            return mffa_fail(err, errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? MFFA_ENOSPC : MFFA_EIO,
                             "could not put %lld bytes of anomaly maps into MFFA_WORK_DIR behind %lld bytes: %s", (long long)bytes,
                             (long long)start, strerror(errno));
        at += done;
    }
    s->count += n;
    return MFFA_OK;
}

mffa_code mffa_map_spool_read(const mffa_map_spool *s, int64_t i, float *map, mffa_err *err) {
    for (int64_t at = 0; at < map_bytes(s);) {
        ssize_t n = pread(s->fd, (char *)map + at, (size_t)(map_bytes(s) - at), i * map_bytes(s) + at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return mffa_fail(err, MFFA_EIO, "could not read anomaly map %lld back: %s", (long long)i,
                             n ? strerror(errno) : "it ends early");
        at += n;
    }
    return MFFA_OK;
}

#include "worker/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

mffa_code mffa_wire_send(int fd, const mffa_json *message, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_buf_put(&b, "\0\0\0", 4);
    mffa_code rc = mffa_json_write(message, 0, &b, err);
    if (rc) return rc;
    size_t len = b.len - 4;
    if (len > MFFA_WIRE_MAX_BYTES) return mffa_fail(err, MFFA_EBUG, "a message of %zu bytes is longer than %d", len, MFFA_WIRE_MAX_BYTES);
    for (int i = 0; i < 4; i++) b.ptr[i] = (char)(len >> (24 - 8 * i) & 0xFF);
    for (size_t at = 0; at < b.len;) {
        ssize_t n = send(fd, b.ptr + at, b.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) return mffa_fail(err, MFFA_EIO, "the other process is gone: %s", strerror(errno));
        if (n > 0) at += (size_t)n;
    }
    return MFFA_OK;
}

/* len bytes; *got says how many came before the end. */
static mffa_code receive_bytes(int fd, void *out, size_t len, size_t *got, mffa_err *err) {
    for (*got = 0; *got < len;) {
        ssize_t n = recv(fd, (char *)out + *got, len - *got, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != ECONNRESET) return mffa_fail(err, MFFA_EIO, "could not hear from the other process: %s", strerror(errno));
        if (n <= 0) return MFFA_OK;
        *got += (size_t)n;
    }
    return MFFA_OK;
}

mffa_code mffa_wire_receive(int fd, mffa_json **out, mffa_err *err) {
    unsigned char prefix[4];
    size_t got = 0, len = 0;
    mffa_code rc = receive_bytes(fd, prefix, sizeof prefix, &got, err);
    if (rc) return rc;
    if (got == 0) return mffa_fail(err, MFFA_ENOTFOUND, "the other process has ended");
    for (int i = 0; i < 4; i++) len = len << 8 | prefix[i];
    if (got < sizeof prefix || len > MFFA_WIRE_MAX_BYTES) return mffa_fail(err, MFFA_EIO, "the other process sent half a message");
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    if (!mffa_buf_extend(&b, len)) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    rc = receive_bytes(fd, b.ptr, len, &got, err);
    if (rc) return rc;
    if (got < len) return mffa_fail(err, MFFA_EIO, "the other process ended within a message");
    return mffa_json_parse(mffa_buf_span(&b), out, err);
}

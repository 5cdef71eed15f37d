/* The documents of services that give credentials, and profiles: read or refused, with nothing of them in the error.
 * Input: a JSON document, or (when its first byte is "[") a credentials file. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "storage/credentials_parts.h"
#include "tests/fuzz/fuzz.h"

static void look(mffa_code rc, mffa_grant *g, const mffa_err *err) {
    if (rc) FUZZ_RULE(*err->msg && !g->who.key_id && !strstr(err->msg, "hunter2"));
    else FUZZ_RULE(*g->who.key_id && *g->who.secret && g->expires_s >= 0);
    mffa_credentials_done(&g->who);
}

static void try_profile(const uint8_t *bytes, size_t len) {
    char path[64];
    mffa_grant g = {0};
    mffa_err err = {0};
    int fd = memfd_create("profile", MFD_CLOEXEC);
    FUZZ_RULE(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    setenv("AWS_CONFIG_FILE", path, 1);
    unsetenv("AWS_PROFILE");
    setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9", 1); /* a role is not asked for */
    look(mffa_grant_from_profile("eu-1", &g, &err), &g, &err);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    mffa_grant g = {0};
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) char *text = fuzz_text(bytes, len);
    FUZZ_RULE(text && mffa_grant_time_s(text) >= 0);
    if (len > 0 && bytes[0] == '[') return try_profile(bytes, len), 0;
    look(mffa_grant_read_json("the service", (mffa_span){bytes, len}, &g, &err), &g, &err);
    return 0;
}

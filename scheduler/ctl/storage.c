/* Storage as the commands use it. */
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "scheduler/ctl/command.h"

static char copies[PATH_MAX]; /* "": none */

mffa_code mffa_command_storage_open(const mffa_command *c, mffa_err *err) {
    const char *tmp = getenv("TMPDIR");
    snprintf(copies, sizeof copies, "%s/mffactl-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(copies))
        return copies[0] = '\0', mffa_fail(err, MFFA_EIO, "cannot make a folder for copies in \"%s\"", tmp && *tmp ? tmp : "/tmp");
    return mffa_store_setup(c->config, copies, err);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    (void)remove(path);
    return 0;
}

void mffa_command_storage_close(void) {
    mffa_store_teardown();
    if (*copies) (void)nftw(copies, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    copies[0] = '\0';
}

mffa_code mffa_command_folder(const char *dir, mffa_store **out, mffa_err *err) {
    char here[PATH_MAX] = "";
    MFFA_AUTO(mffa_buf_done) mffa_buf url = {0};
    if (*dir != '/' && !getcwd(here, sizeof here)) return mffa_fail(err, MFFA_EIO, "could not tell the working folder");
    mffa_buf_putf(&url, "file://%s%s%s", here, *dir == '/' ? "" : "/", dir);
    mffa_code rc = mffa_buf_check(&url, err);
    return rc ? rc : mffa_store_open(mffa_buf_text(&url), out, err);
}

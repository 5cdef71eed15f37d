/* mffactl: what redis-cli can do with more comfort, and what it cannot. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "scheduler/ctl/command.h"

static const struct {
    const char *name, *words, *help;
    mffa_code (*run)(const mffa_command *c, mffa_err *err);
    bool storage; /* it may open s3:// */
} commands[] = {
    {"submit", "KIND FIELD VALUE...", "submit a job, with the same words as redis-cli FCALL mffa_submit 0; prints its ids",
     mffa_command_submit, false},
    {"watch", "ID...", "follow jobs to their end; exits 0 if all are done", mffa_command_watch, false},
    {"get", "ID|URL DIR | --presign ID|URL [KEY]",
     "fetch what a done job published into a folder, every object checked against the manifest;\n"
     "      --presign: print a URL of each object (of KEY), with which anybody can get it for a day",
     mffa_command_get, true},
    {"put", "DIR URL", "copy a folder's files to storage, such as a data set to s3://bucket/prefix", mffa_command_put, true},
    {"verify", "MODEL --data DIR [--weights DIR] [--output DIR]", "have a worker compute a model again and tell the largest difference",
     mffa_command_verify, true},
    {"sample", "DIR [train N] [good N] [defects N] [side N] [seed N] [profile small|paper]",
     "make a small data set and random weights to try everything with", mffa_command_sample, false},
    {"selftest", "URL [FIELD VALUE...]", "put the sample below a URL, run it through the service, fetch and judge the result, clean up",
     mffa_command_selftest, true},
    {"weights", "small|paper DIR", "fetch the published weights of a profile into a folder", mffa_command_weights, false},
    {"metrics", "", "list every metric of the programs, as a Markdown table", mffa_command_metrics, false},
    {"settings", "[--markdown]", "list every setting of the programs", mffa_command_settings, false},
};

static void print_commands(mffa_buf *out) {
    mffa_buf_puts(out, "mffactl COMMAND ...\n\n");
    for (size_t i = 0; i < MFFA_COUNT(commands); i++)
        mffa_buf_putf(out, "  %s %s\n      %s\n", commands[i].name, commands[i].words, commands[i].help);
    mffa_buf_puts(out, "  version\n      print the version\n");
}

/* Flags of one command are no settings: they become words. */
static void take_own_flags(int argc, char **argv) {
    static const struct { const char *command, *flag; } own[] = {
        {"verify", "--data"}, {"verify", "--weights"}, {"verify", "--output"}, {"get", "--" MFFA_COMMAND_PRESIGN}};
    for (int i = 2; i < argc; i++)
        for (size_t k = 0; k < MFFA_COUNT(own); k++)
            if (strcmp(argv[1], own[k].command) == 0 && strcmp(argv[i], own[k].flag) == 0) argv[i] += strlen("--");
}

static mffa_code run(const mffa_command *c, const char *name, mffa_err *err) {
    for (size_t i = 0; i < MFFA_COUNT(commands); i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        mffa_code rc = commands[i].storage ? mffa_command_storage_open(c, err) : MFFA_OK;
        if (!rc) rc = commands[i].run(c, err);
        mffa_command_storage_close();
        return rc;
    }
    return mffa_fail(err, MFFA_EINVAL, "there is no command \"%s\": mffactl --help lists them", name);
}

int main(int argc, char **argv) {
    MFFA_AUTO(mffa_buf_done) mffa_buf usage = {0};
    MFFA_AUTO(mffa_config_done) mffa_config config = {0};
    mffa_err err = {0};
    int left = 0;
    bool markdown = argc == 3 && strcmp(argv[1], "settings") == 0 && strcmp(argv[2], "--markdown") == 0; /* not a setting's flag */
    signal(SIGPIPE, SIG_IGN);
    print_commands(&usage);
    take_own_flags(argc, argv);
    mffa_code rc = markdown ? (left = 2, mffa_config_load_env(&config, MFFA_CTL, &err))
                            : mffa_config_load(&config, MFFA_CTL, mffa_buf_text(&usage), argc, argv, &left, &err);
    if (!rc && (left == 0 || strcmp(argv[1], "help") == 0)) return fputs(mffa_buf_text(&usage), left ? stdout : stderr), left ? 0 : 2;
    if (!rc && strcmp(argv[1], "version") == 0) return puts(MFFA_VERSION), 0;
    if (!rc) rc = run(&(mffa_command){.config = &config, .count = left - 1, .words = argv + 2}, argv[1], &err);
    if (!rc && fflush(stdout) != 0) rc = mffa_fail(&err, MFFA_EIO, "could not write the answer");
    if (rc && *err.msg) fprintf(stderr, "mffactl: %s\n", err.msg);
    return rc == MFFA_OK ? 0 : rc == MFFA_ECANCELLED ? 130 : 1;
}

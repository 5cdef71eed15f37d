/* mffa-worker: takes jobs from the queue and runs them. The process that is started supervises; the executor, which owns the device,
 * is this same program started again with a hidden first argument (child.h). */
#include <string.h>
#include "core/base/config.h"
#include "core/base/log.h"
#include "scheduler/endpoint.h"
#include "storage/store.h"
#include "worker/child.h"
#include "worker/executor.h"
#include "worker/supervisor.h"

static const char usage[] = "usage: mffa-worker [settings]\n\n"
                            "Claims jobs from the queue in Redis and runs them on this machine's device.\n"
                            "SIGTERM hands the job in hand back; a second one ends at once.\n"
                            "mffa-worker --health [--listen address:port]: exits 0 if the one that listens there is ready.\n"
                            "mffa-worker --version: its version.\n";

static int refuse(const char *text) {
    fprintf(stderr, "mffa-worker: %s\n", text);
    return 2;
}

/* Reading the settings changes argv; the executor gets the arguments as they were given. */
static char **copy_arguments(int argc, char **argv) {
    char **copy = calloc((size_t)argc + 1, sizeof *copy);
    for (int i = 1; copy && i < argc; i++)
        if (!(copy[i - 1] = strdup(argv[i]))) return NULL;
    return copy;
}

static mffa_code set_up_storage(const mffa_config *c, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf cache = {0};
    if (c->cache_dir) mffa_buf_puts(&cache, c->cache_dir);
    else mffa_buf_putf(&cache, "%s/cache", c->work_dir);
    mffa_code rc = mffa_buf_check(&cache, err);
    return rc ? rc : mffa_store_setup(c, mffa_buf_text(&cache), err);
}

static int load(mffa_config *config, int argc, char **argv) {
    mffa_err err = {0};
    mffa_level level = MFFA_INFO;
    int left = 0;
    if (mffa_config_load(config, MFFA_WORKER, usage, argc, argv, &left, &err)) return refuse(err.msg);
    if (left) {
        fprintf(stderr, "mffa-worker: takes no argument \"%s\": --help lists the settings\n", argv[1]);
        return 2;
    }
    mffa_level_parse(config->log_level, &level);
    mffa_log_setup("mffa-worker", level);
    return set_up_storage(config, &err) ? refuse(err.msg) : 0;
}

int main(int argc, char **argv) {
    bool health = argc > 1 && strcmp(argv[1], "--health") == 0, executor = argc >= 4 && strcmp(argv[1], MFFA_EXECUTOR_ARGUMENT) == 0;
    int fd = executor ? atoi(argv[2]) : -1, shift = executor ? 3 : health;
    const char *folder = executor ? argv[3] : NULL;
    mffa_config config = {0};
    char **args = copy_arguments(argc, argv);
    if (!args) return refuse("out of memory");
    int code = load(&config, argc - shift, argv + shift);
    if (!code && health) code = mffa_endpoint_ask(config.listen);
    else if (!code) code = executor ? mffa_executor_run(fd, folder, &config) : mffa_supervisor_run(&config, args);
    for (int i = 0; args[i]; i++) free(args[i]);
    free(args);
    mffa_store_teardown();
    mffa_config_done(&config);
    return code;
}

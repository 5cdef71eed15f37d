/* Settings of all programs, one table row each (config.c): environment name, programs, type, range, default, help.
 * The parser, --help and the README's table come from that table. Precedence: default, file (--config FILE, lines NAME=value),
 * environment, flag (--redis-url V or --redis-url=V for MFFA_REDIS_URL). An unknown key or a bad value stops the start-up, naming
 * key, value and range. An empty value is "not set" where that is the default, and refused elsewhere. Read-only after start.
 * Texts are never printed by this module, since a URL may hold a password: errors quote bad numbers and choices only. */
#ifndef MFFA_CORE_BASE_CONFIG_H
#define MFFA_CORE_BASE_CONFIG_H

#include <stdint.h>
#include "core/base/buf.h"

typedef enum mffa_program { /* which program knows a setting; bits */
    MFFA_WORKER = 1,
    MFFA_SCHEDULER = 2,
    MFFA_CTL = 4,
    MFFA_ANY = 7
} mffa_program;

typedef struct mffa_config {
    /* queue */
    char *redis_url;           /* scheduler/redis_address.h */
    char *redis_password_file; /* its first line; NULL: none */
    char *redis_ca_file, *redis_cert_file, *redis_key_file; /* PEM, for rediss://; NULL: the system's authorities, none, none */
    char *queue;               /* name of the queue: keys are mffa:{<queue>}:... */
    /* worker */
    char *pool;         /* jobs of this pool only */
    char *kinds;        /* comma-separated kinds that it takes */
    char *worker_id;    /* NULL: host name, pid and a random part */
    char *device;       /* auto, cpu, cuda:N */
    char *precision;    /* fp32, tf32, bf16 */
    char *weights;      /* URL of the folder with backbone and transformer weights; NULL: each job names its own */
    char *allowed_urls; /* comma-separated URL prefixes that jobs may name; NULL: every s3://, no file:// */
    char *work_dir;     /* spill files, checkpoints in work, cache */
    int64_t threads;    /* 0: as many as cores */
    int64_t batch;      /* images that pass the network at once */
    int64_t beat_ms, stall_ms, stop_ms;
    int64_t once;       /* end after this many jobs; 0: never */
    int64_t memory_bytes; /* what a job may use; 0: what the machine or cgroup has */
    int64_t max_image_bytes, max_image_pixels;
    /* object storage (worker, mffactl) */
    char *s3_endpoint, *s3_region; /* NULL: the AWS variables, then AWS and us-east-1 */
    char *s3_style;                /* auto, path, host */
    char *s3_ca_file, *s3_verify, *s3_checksum, *s3_conditional, *s3_requester_pays;
    char *s3_sse, *s3_kms_key; /* encryption that is asked for; NULL: the bucket's own */
    int64_t s3_concurrency, s3_part_bytes, s3_bytes_per_s;
    int64_t s3_deadline_ms, s3_connect_ms, s3_stall_ms;
    char *cache_dir; /* NULL: below work_dir */
    int64_t cache_bytes;
    /* scheduler */
    int64_t lease_ms, backoff_ms, retention_s, dead_retention_s, max_queued, reap_ms;
    /* mffactl */
    char *weights_mirror; /* URL of a folder with the published weights; NULL: their publishers */
    /* worker and scheduler */
    char *listen; /* address:port of /metrics, /healthz, /readyz; NULL: none */
    /* all */
    char *log_level;
} mffa_config;

/* Fill c from defaults, file, environment and argv. Arguments that are not flags are moved to the front of argv[1..] and counted in
 * *left (a program that takes none refuses them itself); after a lone "--" everything is one. --help and -h print `usage` and the
 * program's settings to stdout, --version prints its name and version; both exit 0, whatever else is wrong. A value that itself starts with
 * "--" needs the form --name=value. Fails with MFFA_EINVAL; c can be passed to mffa_config_done in any case. */
MFFA_MUST_USE mffa_code mffa_config_load(mffa_config *c, mffa_program who, const char *usage, int argc, char **argv, int *left, mffa_err *err);
/* Defaults and environment only (tests, and programs with their own command line such as mffactl). */
MFFA_MUST_USE mffa_code mffa_config_load_env(mffa_config *c, mffa_program who, mffa_err *err);
/* The same with a file between them (NULL: none). */
MFFA_MUST_USE mffa_code mffa_config_load_from(mffa_config *c, mffa_program who, const char *file, mffa_err *err);
/* One flag with its value, for programs that read their own command line: name "--redis-url". *known says whether it is a setting. */
MFFA_MUST_USE mffa_code mffa_config_set_flag(mffa_config *c, mffa_program who, const char *flag, const char *value, bool *known, mffa_err *err);
void mffa_config_done(mffa_config *c);

void mffa_config_help(mffa_program who, mffa_buf *out);  /* the settings as aligned text */
void mffa_config_table(mffa_buf *out);                   /* the README's Markdown table */

#endif

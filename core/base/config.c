#include "core/base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct row {
    const char *env, *value; /* value: the default; NULL: not set */
    int programs;
    enum { TEXT, NUMBER, CHOICE } type;
    size_t at;
    int64_t min, max;    /* NUMBER */
    const char *choices; /* CHOICE: words separated by | */
    const char *help;
} row;

enum { MFFA_STORES = MFFA_WORKER | MFFA_CTL }; /* the programs that open s3:// */

#define FIELD(name) offsetof(mffa_config, name)
static const row rows[] = {
    {"MFFA_REDIS_URL", "redis://127.0.0.1:6379", MFFA_ANY, TEXT, FIELD(redis_url), 0, 0, NULL, "Redis: redis://host:port/db, rediss:// (TLS), redis+sentinel://host:port/master or unix:///path/to.sock; several hosts with a comma between"},
    {"MFFA_REDIS_PASSWORD_FILE", NULL, MFFA_ANY, TEXT, FIELD(redis_password_file), 0, 0, NULL, "file whose first line is the Redis password"},
    {"MFFA_REDIS_CA_FILE", NULL, MFFA_ANY, TEXT, FIELD(redis_ca_file), 0, 0, NULL, "certificates (PEM) of the authority that signed Redis'; not set: the system's"},
    {"MFFA_REDIS_CERT_FILE", NULL, MFFA_ANY, TEXT, FIELD(redis_cert_file), 0, 0, NULL, "certificate (PEM) to show to a Redis that asks for one"},
    {"MFFA_REDIS_KEY_FILE", NULL, MFFA_ANY, TEXT, FIELD(redis_key_file), 0, 0, NULL, "key (PEM) of that certificate"},
    {"MFFA_QUEUE", "main", MFFA_ANY, TEXT, FIELD(queue), 0, 0, NULL, "name of the queue; its keys start with mffa:{<queue>}:"},
    {"MFFA_POOL", "default", MFFA_WORKER, TEXT, FIELD(pool), 0, 0, NULL, "pool whose jobs this worker takes"},
    {"MFFA_KINDS", "finetune,fit,evaluate,score,verify", MFFA_WORKER, TEXT, FIELD(kinds), 0, 0, NULL, "job kinds this worker takes"},
    {"MFFA_WORKER_ID", NULL, MFFA_WORKER, TEXT, FIELD(worker_id), 0, 0, NULL, "name in the queue; made from host, pid and chance if not set"},
    {"MFFA_DEVICE", "auto", MFFA_WORKER, TEXT, FIELD(device), 0, 0, NULL, "auto, cpu or cuda:N"},
    {"MFFA_PRECISION", "fp32", MFFA_WORKER, CHOICE, FIELD(precision), 0, 0, "fp32|tf32|bf16", "arithmetic of the networks"},
    {"MFFA_WEIGHTS", NULL, MFFA_WORKER, TEXT, FIELD(weights), 0, 0, NULL, "URL of the folder with the pretrained weights, for jobs that name none"},
    {"MFFA_ALLOWED_URLS", NULL, MFFA_WORKER, TEXT, FIELD(allowed_urls), 0, 0, NULL, "URL prefixes that jobs may name; not set: any s3://, no file://"},
    {"MFFA_WORK_DIR", "/var/tmp/mffa", MFFA_WORKER, TEXT, FIELD(work_dir), 0, 0, NULL, "folder for spill files and the local cache"},
    {"MFFA_THREADS", "0", MFFA_WORKER, NUMBER, FIELD(threads), 0, 1024, NULL, "CPU threads; 0: one per core"},
    {"MFFA_BATCH", "16", MFFA_WORKER, NUMBER, FIELD(batch), 1, 256, NULL, "pictures that pass the networks at once"},
    {"MFFA_BEAT_MS", "5000", MFFA_WORKER, NUMBER, FIELD(beat_ms), 50, 60000, NULL, "time between heartbeats of a running job"},
    {"MFFA_STALL_MS", "600000", MFFA_WORKER, NUMBER, FIELD(stall_ms), 1000, 86400000, NULL, "an executor without progress for this long is killed"},
    {"MFFA_STOP_MS", "20000", MFFA_WORKER, NUMBER, FIELD(stop_ms), 100, 600000, NULL, "time for a checkpoint after SIGTERM"},
    {"MFFA_ONCE", "0", MFFA_WORKER, NUMBER, FIELD(once), 0, 1000000, NULL, "end after this many jobs; 0: never"},
    {"MFFA_MEMORY_BYTES", "0", MFFA_WORKER, NUMBER, FIELD(memory_bytes), 0, INT64_C(1) << 50, NULL, "memory that a job may use; 0: what the machine or cgroup allows"},
    {"MFFA_MAX_IMAGE_BYTES", "268435456", MFFA_WORKER, NUMBER, FIELD(max_image_bytes), 1024, INT64_C(1) << 32, NULL, "largest image file"},
    {"MFFA_MAX_IMAGE_PIXELS", "67108864", MFFA_WORKER, NUMBER, FIELD(max_image_pixels), 1024, INT64_C(1) << 31, NULL, "largest image, in pixels"},
    {"MFFA_S3_ENDPOINT", NULL, MFFA_STORES, TEXT, FIELD(s3_endpoint), 0, 0, NULL, "S3 server, such as https://s3.example.com:9000; not set: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, then AWS"},
    {"MFFA_S3_REGION", NULL, MFFA_STORES, TEXT, FIELD(s3_region), 0, 0, NULL, "region of the buckets; not set: AWS_REGION, AWS_DEFAULT_REGION, then us-east-1"},
    {"MFFA_S3_STYLE", "auto", MFFA_STORES, CHOICE, FIELD(s3_style), 0, 0, "auto|path|host", "bucket in the path or in the host name; auto: path for a server of your own, host for AWS"},
    {"MFFA_S3_CA_FILE", NULL, MFFA_STORES, TEXT, FIELD(s3_ca_file), 0, 0, NULL, "certificates (PEM) of the authority that signed the server's; not set: AWS_CA_BUNDLE, then the system's"},
    {"MFFA_S3_VERIFY", "on", MFFA_STORES, CHOICE, FIELD(s3_verify), 0, 0, "on|off", "off: take any certificate (for trying things out only)"},
    {"MFFA_S3_CONCURRENCY", "8", MFFA_STORES, NUMBER, FIELD(s3_concurrency), 1, 128, NULL, "requests of one store at a time"},
    {"MFFA_S3_PART_BYTES", "16777216", MFFA_STORES, NUMBER, FIELD(s3_part_bytes), 5242880, INT64_C(5) << 30, NULL, "larger objects travel in parts of this size"},
    {"MFFA_S3_BYTES_PER_S", "0", MFFA_STORES, NUMBER, FIELD(s3_bytes_per_s), 0, INT64_C(1) << 50, NULL, "most bytes a second that one store sends or gets; 0: no limit"},
    {"MFFA_S3_DEADLINE_MS", "600000", MFFA_STORES, NUMBER, FIELD(s3_deadline_ms), 100, 86400000, NULL, "time for one request (of a large object: one part) with all its retries"},
    {"MFFA_S3_CONNECT_MS", "10000", MFFA_STORES, NUMBER, FIELD(s3_connect_ms), 100, 600000, NULL, "time to connect"},
    {"MFFA_S3_STALL_MS", "30000", MFFA_STORES, NUMBER, FIELD(s3_stall_ms), 1000, 3600000, NULL, "a connection without a byte for this long is given up"},
    {"MFFA_S3_CHECKSUM", "off", MFFA_STORES, CHOICE, FIELD(s3_checksum), 0, 0, "off|sha256|crc64nvme|crc32", "checksum that the server is asked to keep with each object"},
    {"MFFA_S3_CONDITIONAL", "on", MFFA_STORES, CHOICE, FIELD(s3_conditional), 0, 0, "on|off", "off: for servers that do not know If-None-Match; look first, then write"},
    {"MFFA_S3_REQUESTER_PAYS", "off", MFFA_STORES, CHOICE, FIELD(s3_requester_pays), 0, 0, "off|on", "accept the costs of buckets whose requester pays"},
    {"MFFA_S3_SSE", NULL, MFFA_STORES, TEXT, FIELD(s3_sse), 0, 0, NULL, "encryption at the server: AES256 or aws:kms; not set: as the bucket says"},
    {"MFFA_S3_KMS_KEY", NULL, MFFA_STORES, TEXT, FIELD(s3_kms_key), 0, 0, NULL, "key for aws:kms"},
    {"MFFA_CACHE_DIR", NULL, MFFA_WORKER, TEXT, FIELD(cache_dir), 0, 0, NULL, "folder for copies of objects, shared by the workers of a machine; not set: cache in MFFA_WORK_DIR"},
    {"MFFA_CACHE_BYTES", "21474836480", MFFA_WORKER, NUMBER, FIELD(cache_bytes), 0, INT64_C(1) << 50, NULL, "copies that no job uses are kept up to this size"},
    {"MFFA_LEASE_MS", "30000", MFFA_SCHEDULER, NUMBER, FIELD(lease_ms), 200, 3600000, NULL, "a running job without heartbeat for this long runs again"},
    {"MFFA_BACKOFF_MS", "10000", MFFA_SCHEDULER, NUMBER, FIELD(backoff_ms), 1, 3600000, NULL, "wait before a failed job runs again; doubles with each failure, up to 10 minutes"},
    {"MFFA_RETENTION_S", "604800", MFFA_SCHEDULER, NUMBER, FIELD(retention_s), 1, 31536000, NULL, "ended jobs are kept this long"},
    {"MFFA_DEAD_RETENTION_S", "2592000", MFFA_SCHEDULER, NUMBER, FIELD(dead_retention_s), 1, 31536000, NULL, "dead jobs are kept this long"},
    {"MFFA_MAX_QUEUED", "1000000", MFFA_SCHEDULER, NUMBER, FIELD(max_queued), 1, 100000000, NULL, "jobs of a pool that may be open (waiting or running); more are refused with FULL"},
    {"MFFA_REAP_MS", "1000", MFFA_SCHEDULER, NUMBER, FIELD(reap_ms), 10, 60000, NULL, "time between looks at leases, delays and retention"},
    {"MFFA_WEIGHTS_MIRROR", NULL, MFFA_CTL, TEXT, FIELD(weights_mirror), 0, 0, NULL, "URL of a folder that has the published weights, where their publishers are not reached"},
    {"MFFA_LISTEN", NULL, MFFA_WORKER | MFFA_SCHEDULER, TEXT, FIELD(listen), 0, 0, NULL,
     "address:port of /metrics, /healthz and /readyz; :9464 is port 9464 of every address; not set: none"},
    {"MFFA_LOG_LEVEL", "info", MFFA_ANY, CHOICE, FIELD(log_level), 0, 0, "debug|info|warn|error", "lowest level that is logged"},
};

static bool same_name(const char *env, const char *flag) { /* MFFA_REDIS_URL and --redis-url */
    if (strncmp(flag, "--", 2) != 0) return false;
    env += strlen("MFFA_"), flag += 2;
    for (; *env && *flag; env++, flag++)
        if ((*env == '_' ? '-' : tolower((unsigned char)*env)) != *flag) return false;
    return *env == *flag;
}

static bool is_choice(const char *choices, const char *value) {
    size_t n = strlen(value);
    for (const char *c = choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
        if (n && strncmp(c, value, n) == 0 && (c[n] == '|' || c[n] == '\0')) return true;
    return false;
}

static mffa_code set(mffa_config *c, const row *r, const char *shown, const char *value, mffa_err *err) {
    char *at = (char *)c + r->at;
    if (r->type == NUMBER) {
        char *end = NULL;
        errno = 0;
        long long n = strtoll(value, &end, 10);
        if (errno || end == value || *end || n < r->min || n > r->max)
            return mffa_fail(err, MFFA_EINVAL, "%s=\"%s\": expected an integer from %lld to %lld", shown, value, (long long)r->min, (long long)r->max);
        int64_t v = n;
        memcpy(at, &v, sizeof v);
        return MFFA_OK;
    }
    if (r->type == CHOICE && !is_choice(r->choices, value))
        return mffa_fail(err, MFFA_EINVAL, "%s=\"%s\": expected one of %s", shown, value, r->choices);
    if (!*value && r->value) return mffa_fail(err, MFFA_EINVAL, "%s=\"\": expected a text that is not empty, such as \"%s\"", shown, r->value);
    char *copy = *value ? strdup(value) : NULL, *old; /* empty: as if not set, which is what a template with no value leaves behind */
    if (*value && !copy) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    memcpy(&old, at, sizeof old);
    free(old);
    memcpy(at, &copy, sizeof copy);
    return MFFA_OK;
}

static mffa_code load_defaults(mffa_config *c, mffa_err *err) {
    *c = (mffa_config){0};
    for (size_t i = 0; i < MFFA_COUNT(rows); i++) {
        mffa_code rc = rows[i].value ? set(c, &rows[i], rows[i].env, rows[i].value, err) : MFFA_OK;
        if (rc) return rc;
    }
    return MFFA_OK;
}

extern char **environ;

static mffa_code set_named(mffa_config *c, const char *name, size_t len, const char *value, const char *where, mffa_err *err) {
    for (size_t i = 0; i < MFFA_COUNT(rows); i++)
        if (strlen(rows[i].env) == len && memcmp(rows[i].env, name, len) == 0) return set(c, &rows[i], rows[i].env, value, err);
    return mffa_fail(err, MFFA_EINVAL, "unknown setting \"%.*s\" in %s: --help lists the known ones", (int)len, name, where);
}

static mffa_code load_environment(mffa_config *c, mffa_err *err) {
    for (char **e = environ; *e; e++) {
        const char *eq = strchr(*e, '=');
        /* MFFA_TEST_... steer the project's own tests */
        if (strncmp(*e, "MFFA_", 5) != 0 || strncmp(*e, "MFFA_TEST_", 10) == 0 || !eq) continue;
        mffa_code rc = set_named(c, *e, (size_t)(eq - *e), eq + 1, "the environment", err);
        if (rc) return rc;
    }
    return MFFA_OK;
}

/* text without blanks at either end; cuts it in place */
static char *trimmed(char *text) {
    text += strspn(text, " \t\r");
    size_t n = strlen(text);
    while (n && isspace((unsigned char)text[n - 1])) text[--n] = '\0';
    return text;
}

static mffa_code load_line(mffa_config *c, char *line, const char *where, mffa_err *err) {
    line = trimmed(line);
    if (*line == '#' || *line == '\0') return MFFA_OK;
    char *eq = strchr(line, '=');
    if (!eq) return mffa_fail(err, MFFA_EINVAL, "%s: expected NAME=value or # and a comment", where); /* the line may be a secret */
    *eq = '\0';
    char *name = trimmed(line);
    mffa_code rc = set_named(c, name, strlen(name), trimmed(eq + 1), "this file", err);
    return rc ? mffa_wrap(err, rc, "%s", where) : MFFA_OK;
}

static mffa_code load_file(mffa_config *c, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_code rc = mffa_buf_read_file(&text, path, 1 << 20, err);
    if (!rc && memchr(mffa_buf_text(&text), '\0', text.len)) rc = mffa_fail(err, MFFA_EINVAL, "\"%s\" is not a text file", path);
    char *rest = text.ptr;
    for (int number = 1; !rc && rest; number++) {
        char where[300];
        snprintf(where, sizeof where, "\"%.256s\" line %d", path, number);
        char *line = strsep(&rest, "\n");
        rc = load_line(c, line, where, err);
    }
    return rc;
}

mffa_code mffa_config_load_env(mffa_config *c, mffa_program who, mffa_err *err) { return mffa_config_load_from(c, who, NULL, err); }

mffa_code mffa_config_load_from(mffa_config *c, mffa_program who, const char *file, mffa_err *err) {
    (void)who; /* a setting of another program may stand in a shared environment or file */
    mffa_code rc = load_defaults(c, err);
    if (!rc && file) rc = load_file(c, file, err);
    return rc ? rc : load_environment(c, err);
}

mffa_code mffa_config_set_flag(mffa_config *c, mffa_program who, const char *flag, const char *value, bool *known, mffa_err *err) {
    *known = false;
    for (size_t i = 0; i < MFFA_COUNT(rows); i++) {
        if (!(rows[i].programs & (int)who) || !same_name(rows[i].env, flag)) continue;
        *known = true;
        if (!value) return mffa_fail(err, MFFA_EINVAL, "%s needs a value", flag);
        return set(c, &rows[i], flag, value, err);
    }
    return MFFA_OK;
}

static void print_help(mffa_program who, const char *usage) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_buf_putf(&text, "%s\nSettings (default, then --config FILE, then environment, then flag):\n", usage);
    mffa_config_help(who, &text);
    fputs(mffa_buf_text(&text), stdout);
}

static void print_version(mffa_program who) {
    printf("%s %s\n", who == MFFA_WORKER ? "mffa-worker" : who == MFFA_SCHEDULER ? "mffa-scheduler" : "mffactl", MFFA_VERSION);
}

typedef struct flag {
    char name[64];
    const char *value;
} flag;

/* argv[*i] starts with "--": name and value of "--name=value" or "--name value"; *i moves to the last word used. */
static mffa_code read_flag(int argc, char **argv, int *i, flag *out, mffa_err *err) {
    const char *word = argv[*i], *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    if (n >= sizeof out->name) return mffa_fail(err, MFFA_EINVAL, "unknown flag \"%s\": --help lists the known ones", word);
    memcpy(out->name, word, n);
    out->name[n] = '\0';
    out->value = eq ? eq + 1 : NULL;
    if (!eq && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0) out->value = argv[++*i];
    return MFFA_OK;
}

static mffa_code apply_flag(mffa_config *c, mffa_program who, const flag *f, mffa_err *err) {
    bool known = false;
    if (strcmp(f->name, "--config") == 0) return MFFA_OK; /* read before the environment */
    mffa_code rc = mffa_config_set_flag(c, who, f->name, f->value, &known, err);
    if (!rc && !known) return mffa_fail(err, MFFA_EINVAL, "unknown flag \"%s\": --help lists the known ones", f->name);
    return rc;
}

/* The last --config FILE, NULL without one. */
static mffa_code find_config_file(int argc, char **argv, const char **file, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    for (int i = 1; !rc && i < argc && strcmp(argv[i], "--") != 0; i++) {
        flag f;
        if (strncmp(argv[i], "--", 2) != 0) continue;
        rc = read_flag(argc, argv, &i, &f, err);
        if (rc || strcmp(f.name, "--config") != 0) continue;
        if (!f.value || !*f.value) rc = mffa_fail(err, MFFA_EINVAL, "--config needs a file");
        *file = f.value;
    }
    return rc;
}

mffa_code mffa_config_load(mffa_config *c, mffa_program who, const char *usage, int argc, char **argv, int *left, mffa_err *err) {
    *c = (mffa_config){0};
    *left = 0;
    /* Help comes first: who needs it may be the one whose settings are wrong. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) print_help(who, usage), exit(0);
        if (strcmp(argv[i], "--version") == 0) print_version(who), exit(0);
    }
    const char *file = NULL;
    mffa_code rc = find_config_file(argc, argv, &file, err);
    if (!rc) rc = mffa_config_load_from(c, who, file, err);
    bool words = false;
    for (int i = 1; !rc && i < argc; i++) {
        flag f;
        if (words || strncmp(argv[i], "--", 2) != 0) argv[++*left] = argv[i];
        else if (strcmp(argv[i], "--") == 0) words = true;
        else if (!(rc = read_flag(argc, argv, &i, &f, err))) rc = apply_flag(c, who, &f, err);
    }
    return rc;
}

void mffa_config_done(mffa_config *c) {
    for (size_t i = 0; i < MFFA_COUNT(rows); i++) {
        char *text = NULL;
        if (rows[i].type != NUMBER) memcpy(&text, (char *)c + rows[i].at, sizeof text);
        free(text);
    }
    *c = (mffa_config){0};
}

static void put_range(mffa_buf *out, const row *r) {
    if (r->type == NUMBER) mffa_buf_putf(out, "%lld to %lld", (long long)r->min, (long long)r->max);
    else if (r->type == TEXT) mffa_buf_puts(out, "text");
    else
        for (const char *p = r->choices; *p; p++) mffa_buf_putf(out, *p == '|' ? ", " : "%c", *p);
}

static void put_flag(mffa_buf *out, const row *r, int width) {
    char name[64];
    size_t n = 0;
    for (const char *p = r->env + strlen("MFFA_"); *p && n + 1 < sizeof name; p++) name[n++] = (char)(*p == '_' ? '-' : tolower((unsigned char)*p));
    name[n] = '\0';
    mffa_buf_putf(out, "--%-*s", width, name);
}

void mffa_config_help(mffa_program who, mffa_buf *out) {
    for (size_t i = 0; i < MFFA_COUNT(rows); i++) {
        if (!(rows[i].programs & (int)who)) continue;
        mffa_buf_puts(out, "  ");
        put_flag(out, &rows[i], 22);
        mffa_buf_putf(out, " %-26s %s (", rows[i].env, rows[i].help);
        put_range(out, &rows[i]);
        mffa_buf_putf(out, "; default %s)\n", rows[i].value ? rows[i].value : "not set");
    }
}

static void put_programs(mffa_buf *out, int programs) {
    static const struct {
        mffa_program bit;
        const char *name;
    } names[] = {{MFFA_WORKER, "worker"}, {MFFA_SCHEDULER, "scheduler"}, {MFFA_CTL, "mffactl"}};
    const char *separator = "";
    if (programs == MFFA_ANY) mffa_buf_puts(out, "all");
    for (size_t i = 0; i < MFFA_COUNT(names) && programs != MFFA_ANY; i++) {
        if (!(programs & (int)names[i].bit)) continue;
        mffa_buf_putf(out, "%s%s", separator, names[i].name);
        separator = ", ";
    }
}

static void put_markdown(mffa_buf *out, const char *text) { /* a table ends a cell at |, and <word> would be taken for HTML */
    for (; *text; text++) mffa_buf_putf(out, strchr("|<>", *text) ? "\\%c" : "%c", *text);
}

void mffa_config_table(mffa_buf *out) {
    mffa_buf_puts(out, "| Setting | Flag | Programs | Values | Default | Meaning |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < MFFA_COUNT(rows); i++) {
        const row *r = &rows[i];
        mffa_buf_putf(out, "| `%s` | `", r->env);
        put_flag(out, r, 0);
        mffa_buf_puts(out, "` | ");
        put_programs(out, r->programs);
        mffa_buf_puts(out, " | ");
        put_range(out, r);
        mffa_buf_putf(out, r->value ? " | `%s` | " : " | %s | ", r->value ? r->value : "not set");
        put_markdown(out, r->help);
        mffa_buf_puts(out, " |\n");
    }
}

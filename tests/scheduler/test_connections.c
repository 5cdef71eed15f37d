/* Ways to Redis: TLS with an authority of our own, Sentinels whose master dies, a Cluster whose nodes send elsewhere, several hosts. Real
 * servers on free ports of this machine. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "tests/support/test.h"
#include "scheduler/queue.h"

enum { ARGS_MAX = 40, PATIENCE_MS = 60000 };

typedef struct server {
    pid_t pid;
    int port;
} server;

static char dir[64];
static server servers[8];
static size_t server_count;

static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* A program of a path with these words; its output goes to a log of its own. */
static pid_t run(const char *program, const char *line) {
    char text[1024], log[96], *argv[ARGS_MAX] = {(char *)(uintptr_t)program}, *save = NULL;
    int n = 1;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok_r(text, " ", &save); word && n + 1 < ARGS_MAX; word = strtok_r(NULL, " ", &save)) argv[n++] = word;
    snprintf(log, sizeof log, "%s/log-%zu", dir, server_count);
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    int fd = open(log, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(fd, 1), dup2(fd, 2);
    execvp(program, argv);
    _exit(127);
}

static server *serve(int port, const char *fmt, ...) {
    char line[1024], more[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(more, sizeof more, fmt, ap);
    va_end(ap);
    assert_true(server_count < MFFA_COUNT(servers));
    snprintf(line, sizeof line, "--bind 127.0.0.1 --dir %s --appendonly no --dbfilename none-%d %s", dir, port, more);
    server *s = &servers[server_count++];
    *s = (server){.port = port, .pid = run("redis-server", line)};
    return s;
}

static void shell(const char *fmt, ...) {
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (system(line) != 0) fail_msg("%s", line);
}

static mffa_queue *open_queue(mffa_queue_options o) {
    mffa_queue *q = NULL;
    mffa_err err = {0};
    o.name = "main";
    assert_ok(mffa_queue_open(&o, &q, &err));
    return q;
}

/* The answer as one word of text, or the error's. Repeated while Redis is not reached, as callers do. */
static const char *ask(mffa_queue *q, const char *fmt, ...) {
    static char answer[512];
    char line[1024], *save = NULL;
    mffa_span words[32];
    size_t n = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    for (char *word = strtok_r(line, " ", &save); word && n < MFFA_COUNT(words); word = strtok_r(NULL, " ", &save))
        words[n++] = mffa_span_of(word);
    mffa_code rc = MFFA_EIO;
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; rc == MFFA_EIO && mffa_now_ms() < until;) {
        MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
        mffa_err err = {0};
        bool call = mffa_span_is(words[0], "call");
        rc = call ? mffa_queue_call(q, false, words[1].ptr, words + 2, n - 2, &reply, &err) : mffa_queue_command(q, words, n, &reply, &err);
        const mffa_reply *first = mffa_reply_size(reply) ? mffa_reply_at(reply, 0) : reply;
        if (rc) snprintf(answer, sizeof answer, "%s", err.msg);
        else if (mffa_reply_text(first, NULL)) snprintf(answer, sizeof answer, "%s", mffa_reply_text(first, ""));
        else snprintf(answer, sizeof answer, "%lld", (long long)mffa_reply_int(first, -1));
        if (rc == MFFA_EIO) mffa_sleep_ms(50);
    }
    return answer;
}
#define SUBMIT "call submit fit dataset s3://plant/bottle output s3://plant/out"

static void claim(mffa_queue *q, mffa_lease *out) {
    char request[33];
    bool got = false;
    mffa_err err = {0};
    assert_ok(mffa_random_hex(request, 16, &err));
    mffa_code rc = MFFA_EIO;
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; rc == MFFA_EIO && mffa_now_ms() < until; mffa_sleep_ms(20))
        rc = mffa_queue_claim(q, &(mffa_worker_info){.id = "w1", .pool = "default"}, request, out, &got, &err);
    assert_ok(rc);
    assert_true(got);
}

/* A job from its submission to its end. */
static void live(mffa_queue *q) {
    mffa_lease l = {0};
    mffa_err err = {0};
    char id[64];
    snprintf(id, sizeof id, "%s", ask(q, SUBMIT));
    claim(q, &l);
    assert_string_equal(l.job, id);
    assert_ok(mffa_queue_finish(q, &l, "s3://plant/out/x", NULL, 0, &err));
    assert_string_equal(ask(q, "HGET mffa:{main}:job:%s state", id), "done");
    mffa_lease_done(&l);
}

/* ---- TLS ---- */

static void make_certificates(void) {
    shell("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem 2>/dev/null", dir);
    shell("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout /dev/null -out other.pem 2>/dev/null", dir);
    shell("cd %s && for n in redis client; do openssl req -newkey rsa:2048 -nodes -subj /CN=$n -keyout $n.key -out $n.csr 2>/dev/null && "
          "echo 'subjectAltName=IP:127.0.0.1' >ext && openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
          "-extfile ext -out $n.pem 2>/dev/null || exit 1; done", dir);
}

static void refused(const char *url, const char *ca, const char *cert, const char *key, mffa_code code, const char *part) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    mffa_err err = {0};
    mffa_code rc =
        mffa_queue_open(&(mffa_queue_options){.url = url, .name = "main", .ca_file = ca, .cert_file = cert, .key_file = key}, &q, &err);
    if (!rc) rc = mffa_queue_command(q, &(mffa_span){"PING", 4}, 1, &reply, &err);
    if (rc != code || !strstr(err.msg, part))
        fail_msg("%s (%s), expected \"%s\" (%s)", err.msg, mffa_code_name(rc), part, mffa_code_name(code));
}

static bool has_tls(void) {
    mffa_queue *q = NULL;
    mffa_err err = {0};
    mffa_code rc = mffa_queue_open(&(mffa_queue_options){.url = "rediss://127.0.0.1", .name = "main"}, &q, &err);
    mffa_queue_close(q);
    if (rc)
        assert_string_equal(err.msg,
                            "this build cannot speak TLS to Redis (its hiredis has none): use redis:// through a TLS tunnel, or unix://");
    return rc == MFFA_OK;
}

static void a_certificate_that_does_not_fit_is_refused_and_one_that_does_is_taken(void **state) {
    (void)state;
    char url[64], name[64], ca[96], other[96], cert[96], key[96];
    if (!has_tls()) {
        printf("this hiredis has no TLS: that rediss:// is refused was checked\n");
        return;
    }
    make_certificates();
    int port = free_port();
    serve(port, "--port 0 --tls-port %d --tls-cert-file %s/redis.pem --tls-key-file %s/redis.key --tls-ca-cert-file %s/ca.pem", port, dir,
          dir, dir);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", port), snprintf(name, sizeof name, "rediss://localhost:%d", port);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir), snprintf(other, sizeof other, "%s/other.pem", dir);
    snprintf(cert, sizeof cert, "%s/client.pem", dir), snprintf(key, sizeof key, "%s/client.key", dir);
    MFFA_AUTO(mffa_queue_close_p)
    mffa_queue *q = open_queue((mffa_queue_options){.url = url, .ca_file = ca, .cert_file = cert, .key_file = key});
    live(q);
    refused(url, other, cert, key, MFFA_EDENIED, "its certificate does not fit: ");
    refused(url, NULL, cert, key, MFFA_EDENIED, "its certificate does not fit: ");
    refused(name, ca, cert, key, MFFA_EDENIED, "its certificate does not fit: hostname mismatch");
    refused(url, ca, NULL, NULL, MFFA_EIO, "Redis at \"127.0.0.1:");
    refused(url, "/nowhere.pem", NULL, NULL, MFFA_EINVAL, "MFFA_REDIS_CA_FILE=\"/nowhere.pem\": cannot use it: ");
    refused(url, ca, cert, NULL, MFFA_EINVAL, "MFFA_REDIS_CERT_FILE and MFFA_REDIS_KEY_FILE belong together: give both or none");
    refused(url, ca, cert, ca, MFFA_EINVAL, "MFFA_REDIS_KEY_FILE=\"");
}

/* ---- several hosts ---- */

static void a_host_that_is_not_there_is_passed_over(void **state) {
    (void)state;
    char url[96];
    int port = free_port();
    serve(port, "--port %d", port);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d,127.0.0.1:%d/2", free_port(), port);
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = open_queue((mffa_queue_options){.url = url});
    assert_string_equal(ask(q, "PING"), "PONG");
    live(q);
    assert_non_null(strstr(ask(q, "CLIENT INFO"), " db=2 "));
}

/* ---- Sentinel ---- */

static void wait_for(mffa_queue *q, const char *part, const char *question) {
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; mffa_now_ms() < until; mffa_sleep_ms(50)) {
        MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
        mffa_err err = {0};
        mffa_span words[2] = {{question, strcspn(question, " ")}, mffa_span_of(strchr(question, ' ') + 1)};
        if (mffa_queue_command(q, words, 2, &reply, &err) == MFFA_OK && strstr(mffa_reply_text(reply, ""), part)) return;
    }
    fail_msg("%s does not say \"%s\"", question, part);
}

static void after_a_failover_to_an_older_replica_a_job_runs_again_and_no_id_comes_twice(void **state) {
    (void)state;
    char url[96], direct[64], path[96], line[128];
    int first = free_port(), second = free_port(), sentinel = free_port();
    server *master = serve(first, "--port %d", first);
    serve(second, "--port %d --replicaof 127.0.0.1 %d --repl-diskless-sync-delay 0", second, first);
    snprintf(direct, sizeof direct, "redis://127.0.0.1:%d", second);
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *look = open_queue((mffa_queue_options){.url = direct});
    assert_string_equal(ask(look, "PING"), "PONG");
    wait_for(look, "master_link_status:up", "INFO replication");
    snprintf(path, sizeof path, "%s/sentinel.conf", dir);
    shell("printf 'port %d\\nbind 127.0.0.1\\ndir %s\\nsentinel monitor main-redis 127.0.0.1 %d 1\\nsentinel down-after-milliseconds "
          "main-redis 500\\n"
          "sentinel failover-timeout main-redis 5000\\n' >%s",
          sentinel, dir, first, path);
    snprintf(line, sizeof line, "%s --sentinel", path);
    servers[server_count++] = (server){.port = sentinel, .pid = run("redis-server", line)};
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d/main-redis", free_port(), sentinel);
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = open_queue((mffa_queue_options){.url = url});
    char before[64], after[64];
    snprintf(before, sizeof before, "%s", ask(q, SUBMIT));
    snprintf(direct, sizeof direct, "redis://127.0.0.1:%d", sentinel);
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *guard = open_queue((mffa_queue_options){.url = direct});
    wait_for(guard, "slaves=1", "INFO sentinel");
    assert_string_equal(ask(q, "WAIT 1 10000"), "1");
    /* what happens now the replica never hears of */
    assert_string_equal(ask(look, "REPLICAOF 127.0.0.1 1"), "OK");
    mffa_lease lost = {0}, l = {0};
    claim(q, &lost);
    assert_string_equal(lost.job, before);
    char forgotten[64];
    snprintf(forgotten, sizeof forgotten, "%s", ask(q, SUBMIT));
    kill(master->pid, SIGKILL), waitpid(master->pid, NULL, 0);
    master->pid = 0;
    snprintf(after, sizeof after, "%s", ask(q, SUBMIT)); /* waits for the new master */
    assert_string_not_equal(after, forgotten);
    assert_string_not_equal(after, before);
    mffa_verdict verdict;
    mffa_err err = {0};
    mffa_code rc = mffa_queue_beat(q, &lost, &(mffa_beat){.phase = ""}, &verdict, &err);
    assert_int_equal(rc, MFFA_EFENCED);
    assert_int_equal(mffa_queue_finish(q, &lost, "s3://plant/out/x", NULL, 0, &err), MFFA_EFENCED);
    claim(q, &l);
    assert_string_equal(l.job, before);
    assert_ok(mffa_queue_finish(q, &l, "s3://plant/out/y", NULL, 0, &err));
    mffa_lease_done(&l), mffa_lease_done(&lost);
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d/other", sentinel);
    refused(url, NULL, NULL, NULL, MFFA_ENOTFOUND, "it knows no master \"other\"");
}

/* ---- Cluster ---- */

enum { NODES = 3 };
static mffa_queue *direct[NODES]; /* to the nodes of a Cluster */
static char url[NODES][64];
static int port[NODES];

/* Answers which node has the queue. */
static int start_cluster(void) {
    const int slots[NODES + 1] = {0, 5461, 10923, 16384};
    for (int i = 0; i < NODES; i++) {
        port[i] = free_port();
        serve(port[i], "--port %d --cluster-port %d --cluster-enabled yes --cluster-config-file nodes-%d.conf --cluster-node-timeout 2000",
              port[i], free_port(), port[i]);
        snprintf(url[i], sizeof url[i], "redis://127.0.0.1:%d", port[i]);
        direct[i] = open_queue((mffa_queue_options){.url = url[i]});
        assert_string_equal(ask(direct[i], "CLUSTER ADDSLOTSRANGE %d %d", slots[i], slots[i + 1] - 1), "OK");
    }
    for (int i = 1; i < NODES; i++) {
        shell("redis-cli -p %d CLUSTER MEET 127.0.0.1 %d \"$(redis-cli -p %d CONFIG GET cluster-port | tail -n 1)\" >/dev/null", port[0],
              port[i], port[i]);
    }
    for (int i = 0; i < NODES; i++) wait_for(direct[i], "cluster_state:ok", "CLUSTER INFO");
    int slot = atoi(ask(direct[0], "CLUSTER KEYSLOT mffa:{main}")), owner = 0;
    while (slot >= slots[owner + 1]) owner++;
    return owner;
}

static void calls_follow_a_cluster_to_the_node_that_has_the_queue(void **state) {
    (void)state;
    int owner = start_cluster();
    for (int i = 0; i < NODES; i++) {
        MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = open_queue((mffa_queue_options){.url = url[i]});
        live(q); /* the functions are loaded where the queue is */
    }
    assert_string_equal(ask(direct[owner], "ZCARD mffa:{main}:done"), "3");
    for (int i = 0; i < NODES; i++) mffa_queue_close(direct[i]);
}

static void a_queue_on_its_way_to_another_node_is_not_split(void **state) {
    (void)state;
    int from = start_cluster(), to = (from + 1) % NODES, slot = atoi(ask(direct[0], "CLUSTER KEYSLOT mffa:{main}"));
    char source[64], target[64];
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = open_queue((mffa_queue_options){.url = url[from]});
    live(q);
    snprintf(source, sizeof source, "%s", ask(direct[from], "CLUSTER MYID"));
    snprintf(target, sizeof target, "%s", ask(direct[to], "CLUSTER MYID"));
    assert_string_equal(ask(direct[to], "CLUSTER SETSLOT %d IMPORTING %s", slot, source), "OK");
    assert_string_equal(ask(direct[from], "CLUSTER SETSLOT %d MIGRATING %s", slot, target), "OK");
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    mffa_span fit[5] = {mffa_span_of("fit"), mffa_span_of("dataset"), mffa_span_of("s3://plant/bottle"), mffa_span_of("output"),
                        mffa_span_of("s3://plant/out")};
    assert_int_equal(mffa_queue_call(q, false, "submit", fit, 5, &reply, &err), MFFA_EIO);
    assert_non_null(strstr(err.msg, "the queue is being moved to another node of the Cluster"));
    assert_string_equal(ask(direct[to], "DBSIZE"), "0");
    shell("test \"$(redis-cli -p %d MIGRATE 127.0.0.1 %d '' 0 5000 KEYS $(redis-cli -p %d CLUSTER GETKEYSINSLOT %d 1000))\" = OK",
          port[from], port[to], port[from], slot);
    for (int i = 0; i < NODES; i++) assert_string_equal(ask(direct[(to + i) % NODES], "CLUSTER SETSLOT %d NODE %s", slot, target), "OK");
    live(q);
    assert_string_equal(ask(direct[to], "ZCARD mffa:{main}:done"), "2");
    for (int i = 0; i < NODES; i++) mffa_queue_close(direct[i]);
}

static int clean(void **state) {
    (void)state;
    for (size_t i = 0; i < server_count; i++)
        if (servers[i].pid > 0) kill(servers[i].pid, SIGKILL), waitpid(servers[i].pid, NULL, 0);
    server_count = 0;
    return 0;
}

static int start(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof dir, "/tmp/mffa-ways-XXXXXX");
    return mkdtemp(dir) ? 0 : 1;
}

static int stop(void **state) {
    (void)state;
    shell("rm -rf %s", dir);
    return 0;
}

int main(void) {
    if (system("command -v redis-server && command -v redis-cli && command -v openssl") != 0) {
        printf("skipped: redis-server, redis-cli and openssl are not all on the PATH\n");
        return MFFA_TEST_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_certificate_that_does_not_fit_is_refused_and_one_that_does_is_taken, clean),
        cmocka_unit_test_teardown(a_host_that_is_not_there_is_passed_over, clean),
        cmocka_unit_test_teardown(after_a_failover_to_an_older_replica_a_job_runs_again_and_no_id_comes_twice, clean),
        cmocka_unit_test_teardown(calls_follow_a_cluster_to_the_node_that_has_the_queue, clean),
        cmocka_unit_test_teardown(a_queue_on_its_way_to_another_node_is_not_split, clean),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

#include "tests/scheduler/model/snapshot.h"

#include "tests/support/test.h"

enum { LINES_MAX = 4096 };

/* What a key holds, without what only tells the past (streams) and hints (wake lists); the time that is left to those that expire. */
static const char reader[] =
    "#!lua name=mffa_test_snapshot\n"
    "local reads = {\n"
    "  job = { 'HGETALL' }, cfg = { 'HGETALL' }, counts = { 'HGETALL' },\n"
    "  kids = { 'SMEMBERS' }, wait = { 'SMEMBERS' },\n"
    "  ev = { ttl = true }, worker = { 'HGETALL', ttl = true }, idem = { 'GET', ttl = true }, newest = { 'GET', ttl = true },\n"
    "}\n"
    "local function read(key, name)\n"
    "  if name == 'ev' or name == 'wake' then return {} end\n"
    "  if name == 'inbox' then\n"
    "    local ids = {}\n"
    "    for i, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do ids[i] = entry[1] end\n"
    "    return ids\n"
    "  end\n"
    "  local how = reads[name]\n"
    "  return how and redis.call(how[1], key) or redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')\n"
    "end\n"
    "redis.register_function{ function_name = 'mffa_test_snapshot', flags = { 'no-writes' }, callback = function(keys)\n"
    "  local all, skip = {}, #keys[1] + 2\n"
    "  all[1] = string.match(redis.call('INFO', 'persistence'), 'rdb_changes_since_last_save:(%d+)')\n"
    "  for _, key in ipairs(redis.call('KEYS', keys[1] .. ':*')) do\n"
    "    local short = string.sub(key, skip)\n"
    "    local name = string.match(short, '^[^:]*')\n"
    "    local ttl = reads[name] and reads[name].ttl and redis.call('PTTL', key) or -1\n"
    "    all[#all + 1] = short\n"
    "    all[#all + 1] = read(key, name)\n"
    "    all[#all + 1] = ttl\n"
    "  end\n"
    "  return all\n"
    "end }\n";

void snapshot_load(mffa_test_redis *r) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    const mffa_span words[] = {mffa_span_of("FUNCTION"), mffa_span_of("LOAD"), mffa_span_of("REPLACE"), {reader, sizeof reader - 1}};
    assert_ok(mffa_queue_command(r->queue, words, MFFA_COUNT(words), &reply, &err));
}

/* ---- lines: "key|what it holds", sorted, one list for Redis and one for the model ---- */

typedef struct lines {
    mffa_buf text;
    size_t start[LINES_MAX];
    int count;
} lines;

static void begin(lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void begin(lines *l, const char *fmt, ...) {
    char key[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(key, sizeof key, fmt, ap);
    va_end(ap);
    assert_true(l->count < LINES_MAX);
    l->start[l->count++] = l->text.len;
    mffa_buf_puts(&l->text, key);
    mffa_buf_puts(&l->text, "|");
}
static void end(lines *l) { mffa_buf_put(&l->text, "", 1); }

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void sorted(const lines *l, const char **out) {
    for (int i = 0; i < l->count; i++) out[i] = l->text.ptr + l->start[i];
    qsort(out, (size_t)l->count, sizeof *out, by_text);
}

/* Words that are written in the order of their text, or of a score. */
typedef struct item {
    int64_t score;
    char text[128];
} item;
typedef struct items {
    item list[JOBS_MAX];
    int count;
} items;
static int by_score(const void *a, const void *b) {
    const item *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? -1 : 1) : strcmp(x->text, y->text);
}
static void add(items *s, int64_t score, const char *text) {
    assert_true(s->count < JOBS_MAX);
    s->list[s->count].score = score;
    size_t len = strlen(text);
    assert_true(len < sizeof s->list[0].text);
    memcpy(s->list[s->count++].text, text, len + 1);
}
static void put_items(lines *l, items *s, bool scores) {
    qsort(s->list, (size_t)s->count, sizeof s->list[0], by_score);
    for (int i = 0; i < s->count; i++) {
        mffa_buf_puts(&l->text, s->list[i].text);
        if (scores) mffa_buf_putf(&l->text, "=%lld", (long long)s->list[i].score);
        mffa_buf_puts(&l->text, " ");
    }
    s->count = 0;
}
static void index_line(lines *l, const char *key, items *s, bool scores) {
    if (s->count == 0) return; /* Redis has no empty keys */
    begin(l, "%s", key);
    put_items(l, s, scores);
    end(l);
}

/* ---- a job's record ---- */

static const char *const fields[] = {"backbone",  "backbone_url", "cause",  "due",       "ended",   "ev_at", "failures", "keep",
                                     "kind",      "lost",         "model",  "model_url", "nonce",   "phase", "pool",     "preempted",
                                     "prio",      "queued",       "reason", "result",    "retries", "run",   "seq",      "started",
                                     "run_ended", "state",        "stop",   "timeout",   "worker",  "ids",   "inputs",   "trace"};
static const char *const untold[] = {"dataset", "output", "created", "after", "done", "total", "image_auroc"};
enum { FIELDS = MFFA_COUNT(fields) };

static int place_of(const char *name) {
    for (int i = 0; i < FIELDS; i++)
        if (fields[i][0] == name[0] && strcmp(fields[i], name) == 0) return i;
    for (size_t i = 0; i < MFFA_COUNT(untold); i++)
        if (strcmp(untold[i], name) == 0) return -1;
    return -2;
}

static void put_fields(lines *l, const char *const *values) {
    for (int i = 0; i < FIELDS; i++) {
        if (!values[i]) continue;
        mffa_buf_puts(&l->text, fields[i]), mffa_buf_puts(&l->text, "=");
        mffa_buf_puts(&l->text, strcmp(fields[i], "reason") == 0 ? "*" : values[i]), mffa_buf_puts(&l->text, " ");
    }
}

static void put_record(lines *l, const mffa_reply *hash) {
    const char *values[FIELDS] = {NULL};
    for (size_t i = 0; i + 1 < mffa_reply_size(hash); i += 2) {
        const char *name = mffa_reply_text(mffa_reply_at(hash, i), "");
        int at = place_of(name);
        if (at >= 0) values[at] = mffa_reply_text(mffa_reply_at(hash, i + 1), "");
        else if (at == -2) mffa_buf_putf(&l->text, "unexpected:%s ", name);
    }
    put_fields(l, values);
}

typedef struct texts { /* numbers of a record as text */
    char text[FIELDS][72];
    const char *values[FIELDS];
} texts;
static void tell(texts *t, const char *name, const char *value) {
    int at = place_of(name);
    assert_true(at >= 0);
    size_t len = strlen(value);
    assert_true(len < sizeof t->text[at]);
    memcpy(t->text[at], value, len + 1);
    t->values[at] = t->text[at];
}
static void tell_number(texts *t, const char *name, int64_t n, bool given) {
    char text[24];
    if (!given) return;
    snprintf(text, sizeof text, "%lld", (long long)n);
    tell(t, name, text);
}

static const char *reference_name(const job *j) { return j->r.kind == FIT ? "backbone" : "model"; }

static void tell_request(texts *t, const model *m, const job *j) {
    char trace[64];
    tell(t, "kind", kind_names[j->r.kind]);
    tell_number(t, "prio", j->r.prio, j->r.prio >= 0), tell_number(t, "keep", j->r.keep_s, j->r.keep_s >= 0);
    tell_number(t, "retries", j->r.retries, j->r.retries >= 0), tell_number(t, "timeout", j->r.timeout_s, j->r.timeout_s >= 0);
    if (j->r.pool > 0) tell(t, "pool", pool_names[j->r.pool]);
    if (j->r.reference >= 0) tell(t, reference_name(j), m->jobs[j->r.reference].id);
    else if (j->r.reference == OUTPUT) tell(t, reference_name(j), "s3://plant/out");
    else if (names_model(j->r.kind)) tell(t, "model", "s3://plant/model");
    if (j->r.trace > 0) snprintf(trace, sizeof trace, TRACE, j->r.trace), tell(t, "trace", trace);
    if (*j->reference_url) tell(t, j->r.kind == FIT ? "backbone_url" : "model_url", j->reference_url);
}

static void job_line(lines *l, const model *m, const job *j) {
    texts t;
    char text[72];
    memset(t.values, 0, sizeof t.values);
    tell_request(&t, m, j);
    tell(&t, "state", state_names[j->state]);
    tell_number(&t, "due", j->due, j->due), tell_number(&t, "ended", j->ended, j->ended), tell_number(&t, "seq", j->seq, j->has_seq);
    tell_number(&t, "queued", j->queued, j->queued);
    tell_number(&t, "run", j->run, j->run), tell_number(&t, "started", j->started, j->run), tell_number(&t, "ev_at", j->ev_at, j->ev_at);
    tell_number(&t, "failures", j->failures, j->failures), tell_number(&t, "lost", j->lost, j->lost);
    tell_number(&t, "preempted", j->preempted, j->preempted);
    if (j->run) tell(&t, "nonce", j->nonce), snprintf(text, sizeof text, "w%d", j->worker), tell(&t, "worker", text);
    if (j->run_ended) tell(&t, "run_ended", j->run_ended);
    if (j->timed_out) tell(&t, "stop", "timeout");
    if (j->progress) tell(&t, "phase", "features");
    if (j->reason) tell(&t, "reason", "*");
    if (j->inputs) snprintf(text, sizeof text, "in%d", j->inputs), tell(&t, "inputs", text);
    if (j->cause) tell(&t, "cause", m->jobs[j->cause].id);
    if (j->result) snprintf(text, sizeof text, "s3://plant/%s/%lld", j->id, (long long)j->result), tell(&t, "result", text);
    begin(l, "job:%s", j->id);
    put_fields(l, t.values);
    end(l);
}

static void message_line(lines *l, const message *msg) {
    texts t;
    memset(t.values, 0, sizeof t.values);
    tell(&t, "state", msg->accepted ? "accepted" : "rejected");
    if (msg->accepted) tell(&t, "ids", msg->ids);
    else tell(&t, "reason", "*");
    tell_number(&t, "ended", msg->created, true);
    begin(l, "job:%s", msg->id);
    put_fields(l, t.values);
    end(l);
}

/* ---- what the model expects ---- */

static void index_lines(lines *l, model *m, job_state s, const char *key) {
    static items list;
    for (int i = m->first; i <= m->seq; i++) {
        const job *j = find_job(m, i);
        if (!j || (j->state != s && !(s == RUNNING && j->state == CANCELLING))) continue;
        add(&list, s == BLOCKED ? ready_place(j) : j->until, j->id);
    }
    index_line(l, key, &list, true);
}

static void ready_lines(lines *l, model *m, int pool) {
    static items list, open;
    char key[64];
    for (int k = 0; k < KINDS; k++) {
        for (int i = m->first; i <= m->seq; i++) {
            const job *j = find_job(m, i);
            if (!j || (j->r.pool < 0 ? 0 : j->r.pool) != pool || (int)j->r.kind != k) continue;
            if (j->state == QUEUED) add(&list, ready_place(j), j->id);
            if (j->state == QUEUED || is_held(j->state)) add(&open, j->open_since, j->id);
        }
        snprintf(key, sizeof key, "ready:%s:%s", pool_names[pool], kind_names[k]);
        index_line(l, key, &list, true);
    }
    snprintf(key, sizeof key, "open:%s", pool_names[pool]);
    index_line(l, key, &open, true);
}

static void family_lines(lines *l, model *m, int number) {
    static items list;
    char key[64];
    const job *j = &m->jobs[number];
    for (int p = 0; p < j->parent_count; p++)
        if (j->waits[p]) add(&list, 0, m->jobs[j->parents[p]].id);
    snprintf(key, sizeof key, "wait:%s", j->id);
    index_line(l, key, &list, false);
    for (int i = number + 1; i <= m->seq; i++) {
        const job *k = find_job(m, i);
        for (int p = 0; k && p < k->parent_count; p++)
            if (k->waits[p] && k->parents[p] == number) add(&list, 0, k->id);
    }
    snprintf(key, sizeof key, "kids:%s", j->id);
    index_line(l, key, &list, false);
    if (!j->run || (j->ev_until >= 0 && j->ev_until < m->now)) return;
    begin(l, "ev:%s", j->id);
    mffa_buf_putf(&l->text, "%lld", (long long)(j->ev_until < 0 ? -1 : j->ev_until - m->now));
    end(l);
}

static void message_lines(lines *l, const model *m) {
    static items waiting, accepted, rejected;
    for (int i = 0; i < m->message_count; i++) {
        const message *msg = &m->messages[i];
        if (msg->waiting) add(&waiting, i, msg->id);
        if (msg->waiting || msg->removed) continue;
        message_line(l, msg);
        add(msg->accepted ? &accepted : &rejected, msg->until, msg->id);
    }
    if (m->message_count) { /* a stream stays when it is empty */
        begin(l, "inbox");
        put_items(l, &waiting, false);
        end(l);
    }
    index_line(l, "accepted", &accepted, true);
    index_line(l, "rejected", &rejected, true);
}

static void worker_lines(lines *l, const model *m) {
    static items listed;
    for (int i = 0; i < WORKERS; i++) {
        const worker_record *w = &m->workers[i];
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        if (w->listed) add(&listed, w->listed, name);
        if (w->until < m->now) continue;
        begin(l, "worker:%s", name);
        const char *held = w->job ? m->jobs[w->job].id : "";
        mffa_buf_putf(&l->text, "drain=%d job=%s known=%d request=%s seen=%lld %lld", w->drain, held, w->introduced, w->request,
                      (long long)w->seen, (long long)(w->until - m->now));
        end(l);
    }
    index_line(l, "workers", &listed, true);
}

static void setting_lines(lines *l, model *m) {
    begin(l, "cfg");
    mffa_buf_putf(&l->text, "lease_ms=%lld max_queued=%lld seq=%lld ", (long long)m->lease_ms, (long long)m->max_queued, (long long)m->seq);
    for (int k = 0; k < KINDS; k++)
        if (m->paused_kind[k]) mffa_buf_putf(&l->text, "kind:%s ", kind_names[k]);
    for (int p = 0; p < POOLS; p++)
        if (m->paused_pool[p]) mffa_buf_putf(&l->text, "pool:%s ", pool_names[p]);
    for (int p = 0; p < POOLS; p++)
        if (m->pool_seen[p]) mffa_buf_putf(&l->text, "open:%s=%d ", pool_names[p], open_jobs(m, p));
    end(l);
    for (int k = 0; k < KEYS; k++) {
        if (!model_is_there(m, m->keys[k].until)) continue;
        begin(l, "idem:k%d", k);
        mffa_buf_putf(&l->text, "%s %lld", m->keys[k].ids, (long long)(m->keys[k].until - m->now));
        end(l);
    }
}

static void count_line(lines *l, const model *m) {
    static items list;
    for (int i = 0; i < m->count_count; i++) add(&list, m->counts[i].n, m->counts[i].name);
    index_line(l, "counts", &list, true);
}

static void newest_lines(lines *l, const model *m) {
    for (int k = 0; k < KINDS; k++) {
        if (!*m->newest[k].url || !model_is_there(m, m->newest[k].until)) continue;
        begin(l, "newest:%s:s3://plant/out", kind_names[k]);
        mffa_buf_putf(&l->text, "%s %lld", m->newest[k].url, (long long)(m->newest[k].until - m->now));
        end(l);
    }
}

static void expected(lines *l, model *m) {
    static const job_state indexes[] = {BLOCKED, DELAYED, DONE, FAILED, DEAD, CANCELLED, SKIPPED};
    for (int i = m->first; i <= m->seq; i++)
        if (find_job(m, i)) job_line(l, m, &m->jobs[i]), family_lines(l, m, i);
    for (size_t i = 0; i < MFFA_COUNT(indexes); i++) index_lines(l, m, indexes[i], state_names[indexes[i]]);
    index_lines(l, m, RUNNING, "lease");
    for (int p = 0; p < POOLS; p++) ready_lines(l, m, p);
    message_lines(l, m);
    worker_lines(l, m);
    setting_lines(l, m);
    newest_lines(l, m);
    count_line(l, m);
}

/* ---- what Redis holds ---- */

static const char *field(const mffa_reply *hash, const char *name) { return mffa_reply_text(mffa_reply_field(hash, name), ""); }

static void put_settings(lines *l, const mffa_reply *hash) {
    mffa_buf_putf(&l->text, "lease_ms=%s max_queued=%s seq=%lld ", field(hash, "lease_ms"), field(hash, "max_queued"),
                  (long long)mffa_reply_int(mffa_reply_field(hash, "seq"), 0));
    for (int i = 0; i < KINDS + POOLS; i++) {
        char name[48];
        snprintf(name, sizeof name, "paused:%s:%s", i < KINDS ? "kind" : "pool", i < KINDS ? kind_names[i] : pool_names[i - KINDS]);
        if (mffa_reply_field(hash, name)) mffa_buf_putf(&l->text, "%s ", name + strlen("paused:"));
    }
    for (int p = 0; p < POOLS; p++) {
        char name[48];
        snprintf(name, sizeof name, "open:%s", pool_names[p]);
        if (mffa_reply_field(hash, name)) mffa_buf_putf(&l->text, "%s=%s ", name, field(hash, name));
    }
}

static void put_worker(lines *l, const mffa_reply *hash, int64_t ttl) {
    bool drain = mffa_reply_field(hash, "drain"), known = mffa_reply_field(hash, "pool") && mffa_reply_field(hash, "kinds");
    mffa_buf_putf(&l->text, "drain=%d job=%s known=%d request=%s seen=%s %lld", drain, field(hash, "job"), known, field(hash, "request"),
                  field(hash, "seen"), (long long)ttl);
}

static void put_list(lines *l, const mffa_reply *value, const char *name) {
    static items list;
    bool inbox = strcmp(name, "inbox") == 0, scores = !inbox && strcmp(name, "kids") != 0 && strcmp(name, "wait") != 0;
    for (size_t i = 0; i < mffa_reply_size(value); i += scores ? 2 : 1) {
        int64_t score = scores ? mffa_reply_int(mffa_reply_at(value, i + 1), -1) : 0;
        add(&list, inbox ? (int64_t)i : score, mffa_reply_text(mffa_reply_at(value, i), ""));
    }
    put_items(l, &list, scores);
}

static void actual_line(lines *l, const char *key, const mffa_reply *value, int64_t ttl) {
    char name[16];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(key, ":"), key);
    if (strcmp(name, "wake") == 0 || strcmp(key, "ev") == 0) return;
    begin(l, "%s", key);
    if (strcmp(name, "job") == 0) put_record(l, value);
    else if (strcmp(name, "cfg") == 0) put_settings(l, value);
    else if (strcmp(name, "worker") == 0) put_worker(l, value, ttl);
    else if (strcmp(name, "ev") == 0) mffa_buf_putf(&l->text, "%lld", (long long)ttl);
    else if (strcmp(name, "idem") == 0 || strcmp(name, "newest") == 0)
        mffa_buf_putf(&l->text, "%.*s %lld", (int)strcspn(mffa_reply_text(value, ""), "|"), mffa_reply_text(value, ""), (long long)ttl);
    else put_list(l, value, name);
    end(l);
}

static bool actual(lines *l, mffa_test_redis *r, int64_t *writes, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *all = NULL;
    if (mffa_queue_call(r->queue, true, "test_snapshot", NULL, 0, &all, err)) return false;
    *writes = mffa_reply_int(mffa_reply_at(all, 0), -1);
    for (size_t i = 1; i + 2 < mffa_reply_size(all); i += 3)
        actual_line(l, mffa_reply_text(mffa_reply_at(all, i), ""), mffa_reply_at(all, i + 1), mffa_reply_int(mffa_reply_at(all, i + 2), 0));
    return true;
}

bool snapshot_agrees(mffa_test_redis *r, model *m, int64_t *writes, char *why, size_t size) {
    static lines want, have;
    static const char *a[LINES_MAX + 1], *b[LINES_MAX + 1];
    mffa_err err = {0};
    want.count = have.count = 0;
    mffa_buf_clear(&want.text), mffa_buf_clear(&have.text);
    expected(&want, m);
    if (!actual(&have, r, writes, &err)) return snprintf(why, size, "the snapshot failed: %s", err.msg), false;
    assert_ok(mffa_buf_check(&want.text, &err));
    assert_ok(mffa_buf_check(&have.text, &err));
    sorted(&want, a), sorted(&have, b);
    for (int i = 0; i < want.count || i < have.count; i++) {
        const char *x = i < want.count ? a[i] : "nothing", *y = i < have.count ? b[i] : "nothing";
        if (strcmp(x, y) != 0) return snprintf(why, size, "expected %s\n  Redis has %s", x, y), false;
    }
    return true;
}

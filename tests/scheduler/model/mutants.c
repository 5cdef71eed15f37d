#include "tests/scheduler/model/mutants.h"

#include "core/base/buf.h"
#include "scheduler/functions.h"
#include "tests/support/test.h"

const mutant mutants[] = {
    {"priorities do not matter", "(9 - (prio or 5)) * 281474976710656", "281474976710656"},
    {"the newest of equal ones goes first", "* 281474976710656 + seq)", "* 281474976710656 - seq)"},
    {"a claim's lost reply loses the job", "if known[1] == request then", "if false then"},
    {"paused kinds are claimed", "if not pauses[names_of(pool).paused] and not pauses['paused:kind:' .. list[i]] then",
     "if not pauses[names_of(pool).paused] then"},
    {"paused pools are claimed", "if not pauses[names_of(pool).paused] and not pauses['paused:kind:' .. list[i]] then",
     "if not pauses['paused:kind:' .. list[i]] then"},
    {"a pause is not looked at", "now_text, 'paused', 'some')", "now_text)"},
    {"the last pause but one ends all", "if #sorted_names(pauses) == 0 then set_cfg", "do set_cfg"},
    {"drained workers get jobs", "if o.fresh ~= 'yes' or known[1] == request then return { 'drain', '1' } end", ""},
    {"a fence's nonce does not matter", "local same = j.run == run and j.nonce == nonce", "local same = j.run == run"},
    {"a fence's run does not matter", "local same = j.run == run and j.nonce == nonce", "local same = j.nonce == nonce"},
    {"a beat does not renew the lease", "if j.state == 'running' then put(p, 'ZADD', keys.lease, integer_text(now",
     "if false then put(p, 'ZADD', keys.lease, integer_text(now"},
    {"a beat renews the lease of a job that was told to stop", "if j.state == 'running' then put(p, 'ZADD', keys.lease, integer_text(now",
     "if true then put(p, 'ZADD', keys.lease, integer_text(now"},
    {"time limits do not matter", "limit > 0 and now - tonumber(j.started) > limit", "limit < 0"},
    {"a repeated finish has its effect again", "if not again then publish(j,", "do publish(j,"},
    {"a worker that was drained goes on with the next job", "known and known[5] and not known[3]", "known and known[5]"},
    {"a worker that goes on is free as well", "if not goes_on then free_worker(p, j) end", ""},
    {"one kind alone is looked at for the best job", "left = left - 1", "left = 0"},
    {"a fourth loss makes a job dead", "LOSSES_TO_DIE = 3", "LOSSES_TO_DIE = 4"},
    {"preemption counts as a loss", "count(p, j, 'preempted')", "count(p, j, 'lost')"},
    {"retries do not end", "if retryable and failures <= tonumber(j.retries or fields.retries.default) then", "if retryable then"},
    {"the wait before another run does not grow", "* 2 ^ math.min(failures - 1, 30)", ""},
    {"dependents of dependents are not skipped", "'reason', j.id .. ' ' .. END_WORDS[j.state])\n        from[#from + 1] = id",
     "'reason', j.id .. ' ' .. END_WORDS[j.state])"},
    {"a child starts before its last parent", "call('SISMEMBER', waits, j.id) == 0 then", "call('SISMEMBER', waits, j.id) <= 1 then"},
    {"what a job published is not written into its dependents", "if k[name] == j.id then set(p, k, name .. '_url', j.result) end", ""},
    {"a retry revives dependents that another parent keeps from running", "if bad_end(other) then\n            set",
     "if false then\n            set"},
    {"a retry remembers old failures", "unset(p, j, 'failures', 'lost',", "unset(p, j, 'lost',"},
    {"a retried job keeps its place", "set(p, j, 'seq', integer_text(tonumber(seq or 0) + 1))", ""},
    {"a job that ends stays among the open ones", "act('ZREM', index, id) and (not open or act('ZREM', open, id))",
     "act('ZREM', index, id)"},
    {"a cancelled job stays in the ready index", "return act('ZREM', index, id) and (",
     "return (index ~= keys.lease or act('ZREM', index, id)) and ("},
    {"the same key with other fields answers", "if marks ~= mark then", "if false then"},
    {"one job too many fits", "if open + more <= max_queued then", "if open + more <= max_queued + 1 then"},
    {"a refused submission leaves a trace", "local made = prepare(kind, given, cfg)",
     "call('HINCRBY', keys.cfg, 'tick', 1)\n  local made = prepare(kind, given, cfg)"},
    {"delays end a second early", "'-inf', now, 'LIMIT'", "'-inf', now + 1000, 'LIMIT'"},
    {"no lease is given anew after a restart", "if reaped == process_token() then return end", "do return end"},
    {"the epoch stays after a restart", "if drawn_by == process_token() then return epoch end", "if drawn_by then return epoch end"},
    {"retention forgets a set", "{ 'job', 'kids', 'wait', 'ev' }", "{ 'job', 'kids', 'ev' }"},
    {"a full pool holds up the whole inbox", "full[pool] = true\n",
     "for _, name in ipairs({ 'default', 'gpu' }) do full[name] = true end\n"},
    {"an output names an old result for ever", "and not j[pin] and not is_job_id(j[name])", "and not is_job_id(j[name])"},
    {"what a run read is not remembered", "if o.inputs and o.inputs ~= j.inputs then", "if false then"},
    {"a claim does not tell the wait", "add(answer, 'waited_ms',", "add(answer, 'waited',"},
    {"the wait is that since the submission", "tonumber(j.queued or j.created)", "tonumber(j.created)"},
    {"a plain job keeps the epoch after a restart", "or cfg[3] ~= process or", "or"},
    {"a plain job is counted twice", "local open, seq, max_queued = cfg[6] and cfg[6] + 1,", "local open, seq, max_queued = cfg[6] and cfg[6] + 2,"},
    {"a plain job comes after a full pool", "or open > max_queued or", "or"},
    {"a plain job has its default priority", "score_of(given.prio, seq)", "score_of(5, seq)"},
    {"a job with a parent is a plain one", "given.delay or given.after or", "given.delay or"},
    {"a worker's record is not renewed", "if listed and now - listed < LISTED_MS then", "if listed then"},
    {"ends are not counted", "and act('HINCRBY', keys.counts, 'ended:' .. kind .. ':' .. state, '1')", ""},
    {"a pipeline's jobs lose their trace", "'pool', 'keep', 'trace' }) do t[name]", "'pool', 'keep' }) do t[name]"},
    {"a late end frees the worker of another job", "if call('HGET', worker, 'job') == j.id then", "do"},
};
const size_t mutant_count = MFFA_COUNT(mutants);

char *mutant_source(const mutant *m) {
    const char *at = strstr(mffa_functions_source, m->from);
    if (!at || strstr(at + 1, m->from)) fail_msg("\"%s\": its text stands not exactly once in the library", m->what);
    char *text = NULL;
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - mffa_functions_source), mffa_functions_source, m->to, at + strlen(m->from)) > 0);
    return text;
}

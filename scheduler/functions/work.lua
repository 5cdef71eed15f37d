-- Working: claim, peek, beat, finish, fail, release. A run's fence is its number and its nonce; every call of a run carries both.

types.text = {
  give = function(f) return string.format('give one line of at most %d bytes', f.bytes) end,
  check = function(v) return not string.find(v, '%c') and v end,
}
types.kinds = {
  give = function() return 'give one or more of ' .. table.concat(RUN_KINDS, ',') end,
  check = function(v)
    local names = words_of(v)
    for _, name in ipairs(names) do
      if name == 'pipeline' or not kinds[name] then return nil end
    end
    return #names > 0 and table.concat(names, ',')
  end,
}
local worker_options = {
  pool = fields.pool,
  kinds = { type = 'kinds', bytes = 64 },
  host = { type = 'text', bytes = 128 },
  device = { type = 'text', bytes = 128 },
  version = { type = 'text', bytes = 64 },
  lib = { type = 'integer', min = 1, max = 1000000 },
  fresh = { type = 'choice', words = { 'yes', 'no' } },
}
local WORKER_NAME = { type = 'name', bytes = 128 }

local function check_library(lib)
  lib = tonumber(lib or VERSION)
  if lib < OLDEST_CLIENT then
    refuse('OLDLIB', 'this program speaks library version %d, Redis holds %d: update the program', lib, VERSION)
  end
  if lib > VERSION then
    refuse('OLDLIB', 'Redis holds library version %d, this program needs %d: start a scheduler of its version', VERSION, lib)
  end
end

-- What is paused, of cfg as a table: its fields of that sort. Where there is none `paused` says 'none', and a claim looks no further.
local function pauses_of(cfg)
  local pauses = {}
  for name, value in pairs(cfg) do
    if string.match(name, '^paused:') then pauses[name] = value end
  end
  return pauses
end

-- The kinds of a list that a pool may start now. paused: what cfg says of all.
local function startable(paused, pool, list)
  if paused == 'none' then return list end
  local pauses, kinds_now = pauses_of(table_of(call('HGETALL', keys.cfg))), {}
  for i = 1, #list do
    if not pauses[names_of(pool).paused] and not pauses['paused:kind:' .. list[i]] then kinds_now[#kinds_now + 1] = list[i] end
  end
  return kinds_now
end

-- The best ready job of a pool: the least head among the kinds. Few kinds have one, often that which had one before: the look begins there
-- and ends with the last one that is there.
local function best_ready(pool, list)
  local names, heads, best, best_kind, least = names_of(pool), { nil, nil, nil, nil, nil }, nil, nil, nil
  for i = 1, #list do heads[i] = names.ready[list[i]] end
  local left, at = #list > 0 and call('EXISTS', unpack(heads)) or 0, names.before
  for _ = 1, #list do
    if left == 0 then break end
    at = at < #list and at + 1 or 1
    local head = call('ZRANGE', heads[at], '0', '0', 'WITHSCORES')
    if head[2] then
      local score = tonumber(head[2])
      if not least or score < least then best, best_kind, least, names.before = head[1], list[at], score, at - 1 end
      left = left - 1
    end
  end
  return best and { id = best, kind = best_kind, pool = pool }
end

local function folder_of(url) return string.match(url, '^.*[^/]') end

-- The newest result that a done job of this kind published below a URL: its output, or its own folder there. nil: none that is known.
local function newest_below(url, kind)
  local folder = folder_of(url)
  local id = string.match(folder, '/' .. kind .. '%-([^/]+)$')
  if not id or not is_job_id(id) then return call('GET', key('newest', kind .. ':' .. folder)) or nil end
  local source = peek_at(id, 'state', 'result')
  return source.state == 'done' and string.sub(source.result, 1, #folder + 1) == folder .. '/' and source.result or nil
end

-- References that are URLs above results: the choice holds for every run of the job. One that the queue knows nothing below stays as it
-- is: the worker looks.
local function pin_references(p, j)
  for _, name in ipairs(REFERENCES) do
    local pin = name .. '_url'
    local found = j[name] and not j[pin] and not is_job_id(j[name]) and newest_below(j[name], fields[name].of)
    if found then set(p, j, pin, found) end
  end
end

-- What a worker is told of a job besides its run, behind what is in the list; defaults_of(j.kind) begin at `first`.
local function tell_job(list, first, j)
  tell_fields(list, first, j.kind, j)
  add(list, 'model_url', j.model_url or j.model)
  add(list, 'backbone_url', j.backbone_url or j.backbone)
  add(list, 'inputs', j.inputs)
  return list
end
-- What a claim answers, lease_ms as text.
local function run_answer(j, lease_ms)
  return tell_job({ 'id', j.id, 'run', j.run, 'nonce', j.nonce, 'lease_ms', lease_ms, 'kind', j.kind, defaults_of(j.kind) }, 11, j)
end

-- The time to live of a worker's record and its place in the list; listed: when they were renewed last.
local function renew_worker(p, record, id, listed, lease_ms)
  if listed and now - listed < LISTED_MS then return end
  put(p, 'HSET', record, 'listed', now_text)
  put(p, 'PEXPIRE', record, integer_text(math.max(60000, 3 * lease_ms)))
  put(p, 'ZADD', keys.workers, now_text, id)
end

local function note_worker(p, id, o, listed, lease_ms, job, request)
  local record = key('worker', id)
  local command = { 'HSET', record, 'seen', now_text, 'pool', o.pool, 'kinds', o.kinds, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil }
  add(command, 'host', o.host)
  add(command, 'device', o.device)
  add(command, 'version', o.version)
  if job then
    add(command, 'job', job)
    add(command, 'request', request)
  else
    put(p, 'HDEL', record, 'job', 'request')
  end
  put_list(p, command)
  renew_worker(p, record, id, listed, lease_ms)
end

-- It stays among the open ones.
local function run_writes(act, id, kind, own, ready, until_ms, run, worker)
  return act('ZREM', ready, id) and act('ZADD', keys.lease, until_ms, id)
    and event_writes(act, id, kind, own, 'running', 'run', run, 'worker', worker)
end
local function begin_run(p, j, worker, request, lease_ms)
  local run = integer_text(tonumber(j.run or 0) + 1)
  set(p, j, 'state', 'running', 'run', run, 'nonce', request, 'worker', worker, 'started', now_text)
  if j.run_ended then unset(p, j, 'run_ended') end
  pin_references(p, j)
  put_writes(p, run_writes, j.id, j.kind, own_events(j), ready_key(j), integer_text(now + lease_ms), run, worker)
end

-- The best job, or nil. Entries that mean nothing are taken out of the way, a bounded number a call.
local function take_ready(pool, list)
  for _ = 1, 16 do
    local head = best_ready(pool, list)
    if not head then return nil end
    local j = find(head.id)
    if j and j.state == 'queued' then return j end
    local p = plan() -- the record is lost or was changed by hand
    put(p, 'ZREM', names_of(head.pool).ready[head.kind], head.id)
    if not j then
      put(p, 'ZREM', names_of(head.pool).open, head.id)
      count_open(p, head, '-1')
    end
    commit(p)
  end
end

-- The best job for a worker, begun as this request, or nil. o: what it says of itself; known: its record's request, job, drain, listed;
-- settings: lease_ms and paused of cfg.
local function claim_for(worker, request, o, known, settings)
  o.pool, o.kinds = o.pool or fields.pool.default, o.kinds or RUN_KINDS_TEXT
  local list, p = o.kinds == RUN_KINDS_TEXT and RUN_KINDS or words_of(o.kinds), plan()
  local lease_text = settings[1] or integer_text(DEFAULTS.lease_ms)
  local lease_ms = tonumber(lease_text)
  if known[1] == request then
    local j = find(known[2])
    if j and HELD[j.state] and j.nonce == request then return run_answer(j, lease_text) end
  end
  if known[3] then
    if o.fresh ~= 'yes' or known[1] == request then return { 'drain', '1' } end
    put(p, 'HDEL', key('worker', worker), 'drain')
  end
  local j = take_ready(o.pool, startable(settings[2], o.pool, list))
  note_worker(p, worker, o, tonumber(known[4] or 0), lease_ms, j and j.id, request)
  if not j then
    note_idle(p, o.pool)
    return commit(p)
  end
  begin_run(p, j, worker, request, lease_ms)
  commit(p)
  local answer = run_answer(j, lease_text)
  add(answer, 'waited_ms', integer_text(math.max(0, now - (tonumber(j.queued or j.created) or now))))
  return answer
end

local function check_request(text)
  if #text == 32 and string.match(text, '^[%da-f]+$') then return text end
  refuse('BADFIELD', 'request "%s" does not fit: give 32 random hex digits, new ones for each claim', shown(text))
end

-- claim <worker> <request: 32 hex digits> [pool] [kinds] [host] [device] [version] [lib] [fresh]: the best job, or nil. The same request
-- answers the same run while it lasts, so a lost reply loses no job. fresh yes: a new process of this name, that nobody has drained.
function verbs.claim(args)
  local worker, request = check_value('worker', WORKER_NAME, args[1] or ''), check_request(args[2] or '')
  local o = read_options(worker_options, args, 3)
  check_library(o.lib)
  local known = call('HMGET', key('worker', worker), 'request', 'job', 'drain', 'listed')
  return claim_for(worker, request, o, known, call('HMGET', keys.cfg, 'lease_ms', 'paused'))
end

-- peek [pool] [kinds]: the job that a claim would get now, or nil; nothing changes.
function verbs.peek(args)
  local o = read_options({ pool = worker_options.pool, kinds = worker_options.kinds }, args, 1)
  local pool = o.pool or fields.pool.default
  local head = best_ready(pool, startable(read_cfg('paused'), pool, o.kinds and words_of(o.kinds) or RUN_KINDS))
  local j = head and find(head.id)
  return j and tell_job({ 'id', j.id, 'kind', j.kind, defaults_of(j.kind) }, 5, j)
end

-- The job of a run's call, or a refusal. Also answers jobs whose run has ended `how` already: a repeated call.
local function fenced(args, how)
  local id, run, nonce = args[1] or '', args[2] or '', args[3] or ''
  local j = find(id)
  if not j then refuse('FENCED', 'there is no job "%s" (any more): stop it and publish nothing', shown(id)) end
  local same = j.run == run and j.nonce == nonce
  if same and HELD[j.state] then return j end
  if same and how[j.run_ended or ''] then return j, true end
  refuse('FENCED', 'run %s of %s is over, the job is %s at run %s: stop it and publish nothing', shown(run), id, j.state or '?',
    j.run or '0')
end

local beat_options = {
  phase = { type = 'text', bytes = 32 },
  done = { type = 'integer', min = 0, max = 9007199254740991 },
  total = { type = 'integer', min = 0, max = 9007199254740991 },
  rate = { type = 'number', min = 0, max = 1e15 },
  eta_s = { type = 'integer', min = 0, max = 1e12 },
  inputs = { type = 'name', bytes = 128 },
}
local BEAT_ORDER = { 'phase', 'done', 'total', 'rate', 'eta_s' }

-- beat <id> <run> <nonce> [phase] [done] [total] [rate] [eta_s] [inputs]: go, cancel or drain. A job that was told to stop gets no longer
-- lease: it ends when the one it has runs out.
function verbs.beat(args)
  local j = fenced(args, {})
  local o = read_options(beat_options, args, 4)
  local lease_ms, p = read_cfg('lease_ms'), plan()
  local worker = key('worker', j.worker)
  local known = call('HMGET', worker, 'drain', 'listed')
  put(p, 'HSET', worker, 'seen', now_text, 'job', j.id)
  renew_worker(p, worker, j.worker, tonumber(known[2]), lease_ms)
  local progress = {}
  for _, name in ipairs(BEAT_ORDER) do add(progress, name, o[name]) end
  if #progress > 0 then
    if now - tonumber(j.ev_at or 0) >= 1000 then
      put(p, 'XADD', key('ev', j.id), 'MAXLEN', '~', JOB_EVENTS_KEPT, '*', 'state', j.state, unpack(progress))
      add(progress, 'ev_at', now_text)
    end
    set(p, j, unpack(progress))
  end
  if o.inputs and o.inputs ~= j.inputs then set(p, j, 'inputs', o.inputs) end
  local limit = tonumber(j.timeout or 0) * 1000
  if j.state == 'running' and limit > 0 and now - tonumber(j.started) > limit then
    set(p, j, 'state', 'cancelling', 'stop', 'timeout')
    event(p, j, 'reason', 'timeout')
  end
  if j.state == 'running' then put(p, 'ZADD', keys.lease, integer_text(now + lease_ms), j.id) end
  commit(p)
  if j.state == 'cancelling' then return { ok = 'cancel' } end
  return { ok = known[1] and 'drain' or 'go' }
end

-- The worker is free again, unless it (or another of its name) has taken another job meanwhile.
local function free_worker(p, j)
  local worker = key('worker', j.worker)
  if call('HGET', worker, 'job') == j.id then put(p, 'HDEL', worker, 'job', 'request') end
end

local RESERVED = {} -- names of the record that are no fields of a kind; a fact can have neither
local OWN_NAMES = { 'id', 'kind', 'state', 'created', 'queued', 'started', 'ended', 'due', 'seq', 'run', 'nonce', 'worker', 'failures',
  'lost', 'preempted', 'run_ended', 'reason', 'cause', 'result', 'model_url', 'backbone_url', 'phase', 'done', 'total', 'rate', 'eta_s',
  'inputs', 'ev_at', 'stop', 'ids', 'next' }
for i = 1, #OWN_NAMES do RESERVED[OWN_NAMES[i]] = true end
local function is_fact(name) return not RESERVED[name] and not fields[name] end

local function read_facts(args, first)
  local facts, request, n = {}, nil, (#args - first + 1) / 2
  if n ~= math.floor(n) then refuse('BADFIELD', '%s has no value: give facts as name value name value', shown(args[#args])) end
  if n > LIMITS.facts then refuse('TOOBIG', '%d facts: give at most %d', n, LIMITS.facts) end
  for i = first, #args, 2 do
    local name, value = args[i], args[i + 1]
    local limit = name == 'summary' and LIMITS.summary_bytes or LIMITS.fact_bytes
    if name == 'next' then
      request = check_request(value)
    elseif not is_fact(name) or not string.match(name, '^%l[%l%d_]*$') or #name > 64 then
      refuse('BADFIELD', '"%s" cannot be the name of a fact: give lower-case letters, digits and _, and no name of the record', shown(name))
    elseif #value > limit then
      refuse_size(name, value, limit)
    else
      add(facts, name, value)
    end
  end
  return facts, request
end

local REFERRED = { [fields.model.of] = true, [fields.backbone.of] = true } -- kinds whose results other jobs name

local function publish(j, result, facts, goes_on, retention_s)
  local p = plan()
  p.retention_s = retention_s
  close_run(p, j, 'done')
  if not goes_on then free_worker(p, j) end
  if #facts > 0 then set(p, j, unpack(facts)) end
  local stays_s = finish_as(p, j, 'done', 'result', result)
  if REFERRED[j.kind] then
    put(p, 'SET', key('newest', j.kind .. ':' .. folder_of(j.output)), result, 'PX', integer_text(stays_s * 1000))
  end
  if j.reason then unset(p, j, 'reason') end
  commit(p)
end

-- finish <id> <run> <nonce> <result> [<name> <value>...] [next <request>]: publishes, and with `next` answers what a claim would, for the
-- pool and kinds that the worker's last one named. It has published even if no job can be had: then nil, and the worker claims.
-- O(dependents).
function verbs.finish(args)
  local j, again = fenced(args, { done = true })
  local result = check_value('result', fields.output, args[4] or '')
  local facts, request = read_facts(args, 5)
  local known = request and call('HMGET', key('worker', j.worker), 'request', 'job', 'drain', 'listed', 'pool', 'kinds')
  local goes_on = known and known[5] and not known[3]
  local settings = goes_on and call('HMGET', keys.cfg, 'lease_ms', 'paused', 'retention_s')
  if not again then publish(j, result, facts, goes_on, settings and (settings[3] or DEFAULTS.retention_s)) end
  if not request then return { ok = 'done' } end
  if not goes_on then return known[3] and { 'drain', '1' } or nil end
  local ok, answer = pcall(claim_for, j.worker, request, { pool = known[5], kinds = known[6] }, known, settings)
  return ok and answer or nil
end

-- fail <id> <run> <nonce> <again: yes|no> <reason>: the state that follows. O(dependents).
function verbs.fail(args)
  local j, again = fenced(args, { failed = true, cancelled = true })
  if again then return { ok = j.state } end
  local retryable = check_value('again', { type = 'choice', words = { 'yes', 'no' } }, args[4] or '')
  local reason = string.sub(string.gsub(args[5] or '', '%c', ' '), 1, LIMITS.reason_bytes)
  if reason == '' then refuse('BADFIELD', 'reason is missing: say in one sentence why the job failed') end
  local p = plan()
  free_worker(p, j)
  if j.state == 'cancelling' then
    run_stopped(p, j)
  else
    close_run(p, j, 'failed')
    run_failed(p, j, reason, retryable == 'yes')
  end
  commit(p)
  return { ok = j.state }
end

-- release <id> <run> <nonce> preempted|cancelled: the state that follows.
function verbs.release(args)
  local j, again = fenced(args, { preempted = true, cancelled = true, failed = true })
  local why = check_value('why', { type = 'choice', words = { 'preempted', 'cancelled' } }, args[4] or '')
  if again then return { ok = j.state } end
  local p = plan()
  free_worker(p, j)
  if j.state == 'cancelling' then
    run_stopped(p, j)
  elseif why == 'preempted' then
    close_run(p, j, 'preempted')
    count(p, j, 'preempted')
    leave(p, j)
    enqueue(p, j, 'preempted', j.worker)
  else
    refuse('BADSTATE', '%s was not told to stop: release it as preempted, or call mffa_fail', j.id)
  end
  commit(p)
  return { ok = j.state }
end

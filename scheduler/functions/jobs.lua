-- Jobs: records, and the transitions between states. Every transition moves a job between exactly one index and another:
--   queued ready:<pool>:<kind>   delayed delayed   blocked blocked   running, cancelling lease   ended: a zset named as the state
-- A transition takes a plan and a job (a table: the record's fields and id), notes its writes in the plan and changes the table.

local function pool_of(j) return j.pool or 'default' end
local function ready_key(j) return names_of(pool_of(j)).ready[j.kind] end
local function score_of(prio, seq) return integer_text((9 - (prio or 5)) * 281474976710656 + seq) end
local function ready_score(j) return score_of(j.prio, j.seq or string.match(j.id, '%-(%d+)$')) end

local function find(id)
  local flat = call('HGETALL', key('job', id))
  if #flat == 0 then return nil end
  local j = { id = id, kind = nil, state = nil, run = nil, nonce = nil, worker = nil, created = nil, started = nil, output = nil } -- room
  for i = 1, #flat, 2 do j[flat[i]] = flat[i + 1] end
  return j
end
local function must_find(id)
  local j = find(id)
  if j then return j end
  refuse('NOTFOUND', 'no job "%s": it was never submitted, or its record was removed after its time; mffa_list shows those there are',
    shown(id))
end
-- Some fields of a job that need not exist.
local function peek_at(id, ...)
  local names, t = { ... }, { id = id }
  local values = call('HMGET', key('job', id), ...)
  for i = 1, #names do t[names[i]] = values[i] or nil end
  return t
end

-- The HSET of a record, as a list: what `set` says of that job later joins it.
local function set_record(p, j, command)
  put_list(p, command)
  p.job, p.command = j, command
end
-- Names and values, both as text.
local function set(p, j, ...)
  if p.job ~= j then
    local command = { 'HSET', key('job', j.id), ... }
    for i = 3, #command, 2 do j[command[i]] = command[i + 1] end
    return set_record(p, j, command)
  end
  local given, command, n = { ... }, p.command, #p.command
  for i = 1, #given, 2 do
    j[given[i]], command[n + i], command[n + i + 1] = given[i + 1], given[i], given[i + 1]
  end
end
local function unset(p, j, ...)
  for _, name in ipairs({ ... }) do j[name] = nil end
  put(p, 'HDEL', key('job', j.id), ...)
  p.job = nil -- what is set from now on comes after this
end

-- One event in the queue's stream, and in the job's own once it has run.
local function event_writes(act, id, kind, own, state, ...)
  return act('XADD', keys.ev, 'MAXLEN', '~', EVENTS_KEPT, '*', 'id', id, 'kind', kind, 'state', state, ...)
    and (not own or act('XADD', own, 'MAXLEN', '~', JOB_EVENTS_KEPT, '*', 'state', state, ...))
end
local function own_events(j) return j.run and key('ev', j.id) or false end
local function event(p, j, ...) put_writes(p, event_writes, j.id, j.kind, own_events(j), j.state, ...) end

-- Tokens for idle workers: one for each that a claim has sent away and nobody has called back since. Tokens and those still to be called
-- are never fewer than the workers that sleep; they may be more, as tokens are hints. false: nobody was left to call.
local function wake(p, pool)
  local names, idle = names_of(pool), p.idle or {}
  local waiting = idle[pool] or tonumber(call('HGET', keys.cfg, names.idle) or 0)
  idle[pool], p.idle = math.max(0, waiting - 1), idle
  if waiting <= 0 then return false end
  put(p, 'RPUSH', names.wake, '1')
  set_cfg(p, names.idle, integer_text(waiting - 1))
  return true
end
-- A worker was sent away. No more are noted than there are workers: one that comes again and again is one.
local function note_idle(p, pool)
  local waiting = tonumber(call('HGET', keys.cfg, names_of(pool).idle) or 0)
  if waiting <= call('ZCARD', keys.workers) then set_cfg(p, names_of(pool).idle, integer_text(waiting + 1)) end
end

-- The index that a job is in, and whether it is among the open ones.
local function index_of(j)
  if j.state == 'queued' then return ready_key(j), true end
  if HELD[j.state] then return keys.lease, true end
  return keys[j.state] -- delayed, blocked and the ended states are names of zsets
end
local function leave_writes(act, id, index, open) return act('ZREM', index, id) and (not open or act('ZREM', open, id)) end
local function leave(p, j)
  local index, is_open = index_of(j)
  put_writes(p, leave_writes, j.id, index, is_open and names_of(pool_of(j)).open or false)
end

-- How many jobs of a pool have not ended, in cfg; by: '1' or '-1'. O(1).
local function count_open(p, j, by) put(p, 'HINCRBY', keys.cfg, names_of(pool_of(j)).count, by) end
-- The pools that cfg counts open jobs of (pool -> their number), of cfg as a table.
local function open_of(cfg)
  local open = {}
  for name, value in pairs(cfg) do
    local pool = string.match(name, '^open:(.+)$')
    if pool then open[pool] = tonumber(value) end
  end
  return open
end

local function pools_now() return sorted_names(open_of(table_of(call('HGETALL', keys.cfg)))) end

local function ready_writes(act, id, kind, own, names, score, ...)
  return act('ZADD', names.ready[kind], score, id) and act('ZADD', names.open, now_text, id)
    and event_writes(act, id, kind, own, 'queued', ...)
end
-- Since when it waits for a worker: `queued`, or `created` where it has waited since then.
local function enqueue(p, j, ...)
  if j.is_new then set(p, j, 'state', 'queued') else set(p, j, 'state', 'queued', 'queued', now_text) end
  put_writes(p, ready_writes, j.id, j.kind, own_events(j), names_of(pool_of(j)), ready_score(j), ...)
  wake(p, pool_of(j))
end
local function postpone(p, j, due, ...)
  set(p, j, 'state', 'delayed')
  put(p, 'ZADD', keys.delayed, due, j.id)
  event(p, j, 'due', due, ...)
end
local function block(p, j, ...)
  set(p, j, 'state', 'blocked')
  put(p, 'ZADD', keys.blocked, ready_score(j), j.id)
  event(p, j, ...)
end
-- A job that waits for no other any more.
local function start(p, j, ...)
  local due = tonumber(j.due or 0)
  if due > now then postpone(p, j, integer_text(due), ...) else enqueue(p, j, ...) end
end

local function retention_s(p, j, state)
  return tonumber(j.keep or state ~= 'dead' and p.retention_s) or (read_cfg(state == 'dead' and 'dead_retention_s' or 'retention_s'))
end

-- Counts for metrics; what: '<what>:<kind>' or '<what>:<kind>:<state>'.
local function tally(p, what) put(p, 'HINCRBY', keys.counts, what, '1') end

local function end_writes(act, id, kind, own, state, index, open, count, until_ms, ...)
  return leave_writes(act, id, index, open) and act('HINCRBY', keys.cfg, count, '-1') and act('ZADD', keys[state], until_ms, id)
    and event_writes(act, id, kind, own, state, ...) and act('HINCRBY', keys.counts, 'ended:' .. kind .. ':' .. state, '1')
    and (not own or act('PEXPIRE', own, EVENTS_TTL_MS))
end
-- The end itself, without what it means for other jobs. Answers for how many seconds the record stays.
local function settle(p, j, state, ...)
  local names, stays_s, index, is_open = names_of(pool_of(j)), retention_s(p, j, state), index_of(j)
  local open, until_ms = is_open and names.open or false, integer_text(now + stays_s * 1000)
  set(p, j, 'state', state, 'ended', now_text, ...)
  put_writes(p, end_writes, j.id, j.kind, own_events(j), state, index, open, names.count, until_ms, ...)
  return stays_s
end

local END_WORDS = { failed = 'has failed', dead = 'is dead', cancelled = 'was cancelled' }
local KID_FIELDS = { 'state', 'kind', 'pool', 'prio', 'seq', 'due', 'keep', 'run', 'cause', 'model', 'backbone' }
local REFERENCES = { 'model', 'backbone' } -- fields that may name a job; <field>_url is what it published
local function kids_of(id) return call('SMEMBERS', key('kids', id)) end
local function kid(id) return peek_at(id, unpack(KID_FIELDS)) end

-- Dependents of a job that ended otherwise than done, and theirs: skipped, with the first of them as the cause. O(dependents).
local function skip_dependents(p, j)
  local from, seen = { j.id }, {}
  while #from > 0 do
    for _, id in ipairs(kids_of(table.remove(from))) do
      local k = kid(id)
      if k.state == 'blocked' and not seen[id] then
        seen[id] = true
        settle(p, k, 'skipped', 'cause', j.id, 'reason', j.id .. ' ' .. END_WORDS[j.state])
        from[#from + 1] = id
      end
    end
  end
end
-- What the job published is written into those that name it, so its own record may go. O(dependents).
local function release_dependents(p, j)
  local kids = kids_of(j.id)
  if #kids == 0 then return end
  for _, id in ipairs(kids) do
    local k, waits = kid(id), key('wait', id)
    put(p, 'SREM', waits, j.id)
    for _, name in ipairs(REFERENCES) do
      if k[name] == j.id then set(p, k, name .. '_url', j.result) end
    end
    if k.state == 'blocked' and call('SCARD', waits) - call('SISMEMBER', waits, j.id) == 0 then
      leave(p, k)
      start(p, k)
    end
  end
  put(p, 'DEL', key('kids', j.id))
end

local function finish_as(p, j, state, ...)
  local stays_s = settle(p, j, state, ...)
  if state == 'done' then release_dependents(p, j) else skip_dependents(p, j) end
  return stays_s
end

-- The end of a run. how: done, failed, lost, preempted, cancelled; a repeated call of the same run finds it there.
local PROGRESS = { 'phase', 'done', 'total', 'rate', 'eta_s', 'ev_at', 'stop' }
local function close_run(p, j, how)
  local there = {}
  for _, name in ipairs(PROGRESS) do
    if j[name] then there[#there + 1] = name end
  end
  if #there > 0 then unset(p, j, unpack(there)) end
  set(p, j, 'run_ended', how)
end
local function count(p, j, name)
  local n = tonumber(j[name] or 0) + 1
  set(p, j, name, integer_text(n))
  tally(p, name .. ':' .. j.kind)
  return n
end

-- A failure: another run after a while, as long as the job's retries last. O(dependents) when they do not.
local function run_failed(p, j, reason, retryable)
  local failures = count(p, j, 'failures')
  if retryable and failures <= tonumber(j.retries or fields.retries.default) then
    local back_off = math.min(read_cfg('backoff_ms') * 2 ^ math.min(failures - 1, 30), BACKOFF_LIMIT_MS)
    leave(p, j)
    set(p, j, 'reason', reason)
    postpone(p, j, integer_text(now + back_off), 'reason', reason)
  else
    finish_as(p, j, 'failed', 'reason', reason)
  end
end
-- A job that was told to stop: by a person it ends cancelled, by its time limit it has failed.
local function run_stopped(p, j)
  local timed_out = j.stop == 'timeout'
  close_run(p, j, timed_out and 'failed' or 'cancelled')
  if timed_out then run_failed(p, j, 'took longer than its timeout of ' .. (j.timeout or '0') .. ' s', true)
  else finish_as(p, j, 'cancelled', 'reason', 'cancelled while it ran') end
end
local function run_lost(p, j)
  if j.state == 'cancelling' then return run_stopped(p, j) end
  close_run(p, j, 'lost')
  local worker = j.worker or '?'
  if count(p, j, 'lost') >= LOSSES_TO_DIE then
    local reason = string.format('its workers were lost %d times, last %s: see their logs, then mffa_retry', LOSSES_TO_DIE, worker)
    finish_as(p, j, 'dead', 'reason', reason)
  else
    leave(p, j)
    enqueue(p, j, 'lost', worker)
  end
end

-- Ended badly, or gone: a reason why a job that depends on it cannot start.
local function bad_end(parent) return parent.state == nil or (ENDED[parent.state] and parent.state ~= 'done') end

-- Dependents that were skipped because of j and could run again go back to blocked. O(dependents and their parents).
local function revive_dependents(p, j)
  local found, from = {}, { j.id }
  while #from > 0 do
    for _, id in ipairs(kids_of(table.remove(from))) do
      local k = not found[id] and kid(id)
      if k and k.state == 'skipped' and k.cause == j.id then
        found[id] = k
        from[#from + 1] = id
      end
    end
  end
  local changed, kept = true, {}
  while changed do -- one with another parent that ended stays skipped, and so do its own dependents
    changed = false
    for _, id in ipairs(sorted_names(found)) do
      local k, waits = found[id], call('SMEMBERS', key('wait', id))
      table.sort(waits) -- so that the same calls have the same effects everywhere
      for _, parent in ipairs(waits) do
        if parent ~= j.id and not found[parent] then
          local other = kept[parent] or peek_at(parent, 'state', 'cause')
          if bad_end(other) then
            set(p, k, 'cause', other.cause or parent, 'reason', (other.cause or parent) .. ' has ended too')
            found[id], kept[id], changed = nil, k, true
            break
          end
        end
      end
    end
  end
  for _, id in ipairs(sorted_names(found)) do
    local k = found[id]
    leave(p, k)
    unset(p, k, 'cause', 'reason', 'ended')
    count_open(p, k, '1')
    block(p, k)
  end
end

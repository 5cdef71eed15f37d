-- Steering by people: cancel, retry, setprio, pause, resume, drain.

-- cancel <id>: cancelled at once, or cancelling when it runs (its worker stops at the next beat). O(dependents).
function verbs.cancel(args)
  local j = must_find(args[1] or '')
  if HELD[j.state] and j.stop == 'timeout' then j.state = 'running' end -- a person's word outranks the time limit
  if j.state == 'cancelling' or j.state == 'cancelled' then return { ok = j.state } end
  if ENDED[j.state] then refuse('BADSTATE', '%s is %s already: there is nothing to cancel', j.id, j.state) end
  local p = plan()
  if j.state == 'running' then
    set(p, j, 'state', 'cancelling')
    if j.stop then unset(p, j, 'stop') end
    event(p, j)
  else
    finish_as(p, j, 'cancelled', 'reason', 'cancelled before it ran')
  end
  commit(p)
  return { ok = j.state }
end

-- retry <id>: an ended job starts anew, behind those of its priority; dependents skipped because of it wait again. O(dependents).
function verbs.retry(args)
  local j = must_find(args[1] or '')
  if j.state == 'skipped' then refuse('BADSTATE', '%s was skipped because of %s: retry %s', j.id, j.cause, j.cause) end
  if not RETRYABLE[j.state] then refuse('BADSTATE', '%s is %s: only failed, dead and cancelled jobs can be retried', j.id, j.state) end
  local waits = call('SMEMBERS', key('wait', j.id))
  for _, parent in ipairs(waits) do
    local other = peek_at(parent, 'state', 'cause')
    if bad_end(other) then
      refuse('PARENTENDED', '%s waits for %s and it is %s: retry %s first', j.id, parent, other.state or 'gone', other.cause or parent)
    end
  end
  local p, seq, full, max_queued, open = plan(), read_cfg('seq', 'full', 'max_queued', names_of(pool_of(j)).count)
  check_room(p, pool_of(j), 1, open, full, max_queued)
  put(p, 'HINCRBY', keys.cfg, 'seq', '1')
  leave(p, j)
  unset(p, j, 'failures', 'lost', 'reason', 'ended', 'due')
  set(p, j, 'seq', integer_text(tonumber(seq or 0) + 1))
  count_open(p, j, '1')
  if j.run then put(p, 'PERSIST', key('ev', j.id)) end
  if #waits > 0 then block(p, j, 'retry', 'yes') else start(p, j, 'retry', 'yes') end
  revive_dependents(p, j)
  commit(p)
  return { ok = j.state }
end

-- setprio <id> <0-9>: the job's place changes at once when it waits, at its next wait when it runs.
function verbs.setprio(args)
  local j = must_find(args[1] or '')
  local prio = check_value('prio', fields.prio, args[2] or '')
  if ENDED[j.state] then refuse('BADSTATE', '%s is %s: its priority means nothing any more', j.id, j.state) end
  local p = plan()
  set(p, j, 'prio', prio)
  if j.state == 'queued' then put(p, 'ZADD', ready_key(j), ready_score(j), j.id) end
  if j.state == 'blocked' then put(p, 'ZADD', keys.blocked, ready_score(j), j.id) end
  commit(p)
  return { ok = j.state }
end

local function pausable(args)
  local what, name = args[1] or '', args[2] or ''
  check_value('what', { type = 'choice', words = { 'kind', 'pool' } }, what)
  if what == 'kind' then
    check_value('kind', { type = 'choice', words = RUN_KINDS }, name)
  else
    check_value('pool', fields.pool, name)
  end
  return 'paused:' .. what .. ':' .. name, name
end

-- pause kind|pool <name>: its jobs wait; running ones go on.
function verbs.pause(args)
  local field = pausable(args)
  local pauses = pauses_of(table_of(call('HGETALL', keys.cfg)))
  if not pauses[field] and #sorted_names(pauses) >= LIMITS.pools then refuse('FULL', 'too many pools are paused: resume some first') end
  local p = plan()
  put(p, 'HSET', keys.cfg, field, now_text, 'paused', 'some')
  commit(p)
  return { ok = 'paused' }
end

-- resume kind|pool <name>.
function verbs.resume(args)
  local field, name = pausable(args)
  local p = plan()
  put(p, 'HDEL', keys.cfg, field)
  local pauses = pauses_of(table_of(call('HGETALL', keys.cfg)))
  pauses[field] = nil
  if #sorted_names(pauses) == 0 then set_cfg(p, 'paused', 'none') end
  for _, pool in ipairs(args[1] == 'pool' and { name } or pools_now()) do
    for _ = 1, call('ZCARD', names_of(pool).open) do
      if not wake(p, pool) then break end
    end
  end
  commit(p)
  return { ok = 'resumed' }
end

-- drain <worker>: it gets no job any more, hands back the one it has, and ends.
function verbs.drain(args)
  local worker = args[1] or ''
  if call('EXISTS', key('worker', worker)) == 0 then
    refuse('NOTFOUND', 'no worker "%s": mffa_stats shows those there are', shown(worker))
  end
  local p = plan()
  put(p, 'HSET', key('worker', worker), 'drain', '1')
  commit(p)
  return { ok = 'draining' }
end

-- The scheduler's part: configure and reap. Both may be called by any number of schedulers at any time.

local settings = {
  lease_ms = { type = 'integer', min = 200, max = 3600000 },
  backoff_ms = { type = 'integer', min = 1, max = 3600000 },
  retention_s = { type = 'integer', min = 1, max = 31536000 },
  dead_retention_s = { type = 'integer', min = 1, max = 31536000 },
  max_queued = { type = 'integer', min = 1, max = 100000000 },
}

-- configure <setting> <value>...: what the functions go by, until it is set again.
function verbs.configure(args)
  local o, p = read_options(settings, args, 1), plan()
  local stored = table_of(call('HGETALL', keys.cfg))
  for name, value in pairs(o) do
    if stored[name] ~= value then set_cfg(p, name, value) end
  end
  for pool, open in pairs(table_of(call('HGETALL', keys.pools))) do -- where libraries before 3 counted them
    put(p, 'HINCRBY', keys.cfg, names_of(pool).count, open)
    put(p, 'HDEL', keys.pools, pool)
  end
  if not stored.about then set_cfg(p, 'about', ABOUT_CFG) end
  if not stored.paused and #sorted_names(pauses_of(stored)) == 0 then set_cfg(p, 'paused', 'none') end
  commit(p)
  return { ok = 'OK' }
end

local BATCH = 200 -- of each sort of work, so that one call is short

local function due_ids(zset) return call('ZRANGEBYSCORE', keys[zset], '-inf', now, 'LIMIT', 0, BATCH) end

-- An index entry whose record is gone means nothing.
local function forget(index, id)
  local p = plan()
  put(p, 'ZREM', keys[index], id)
  commit(p)
end

-- After a restart or fail-over nobody could beat for a while: each running job gets one more full lease.
local function grant_grace(reaped, lease_ms)
  if reaped == process_token() then return end
  local p = plan()
  for _, id in ipairs(call('ZRANGE', keys.lease, 0, -1)) do put(p, 'ZADD', keys.lease, integer_text(now + lease_ms), id) end
  put(p, 'HSET', keys.cfg, 'reaped', process)
  commit(p)
end

local function watch_memory(was_full)
  if not redis.acl_check_cmd('INFO', 'memory') then return end
  local info = call('INFO', 'memory')
  local used, most = tonumber(string.match(info, 'used_memory:(%d+)')), tonumber(string.match(info, 'maxmemory:(%d+)'))
  local full, p = most > 0 and used > most * 0.95, plan()
  if full and not was_full then put(p, 'HSET', keys.cfg, 'full', '1') end
  if not full and was_full then put(p, 'HDEL', keys.cfg, 'full') end
  commit(p)
end

local function reap_leases()
  local ids = due_ids('lease')
  for _, id in ipairs(ids) do
    local j = find(id)
    if j and HELD[j.state] then
      local p = plan()
      run_lost(p, j)
      commit(p)
    else
      forget('lease', id)
    end
  end
  return #ids
end

local function promote_delayed()
  local ids = due_ids('delayed')
  for _, id in ipairs(ids) do
    local j = find(id)
    if j and j.state == 'delayed' then
      local p = plan()
      leave(p, j)
      if j.due then unset(p, j, 'due') end
      enqueue(p, j)
      commit(p)
    else
      forget('delayed', id)
    end
  end
  return #ids
end

local function remove(state, id)
  local j, p = peek_at(id, 'after', 'model', 'backbone'), plan()
  for _, parent in ipairs(words_of((j.after or '') .. ' ' .. (j.model or '') .. ' ' .. (j.backbone or ''))) do
    if is_job_id(parent) then put(p, 'SREM', key('kids', parent), id) end
  end
  for _, name in ipairs({ 'job', 'kids', 'wait', 'ev' }) do put(p, 'DEL', key(name, id)) end
  put(p, 'ZREM', keys[state], id)
  commit(p)
end
local function remove_old()
  local removed, more = 0, false
  for state in pairs(ENDED) do
    local ids = due_ids(state)
    for _, id in ipairs(ids) do remove(state, id) end
    removed, more = removed + #ids, more or #ids == BATCH
  end
  local p = plan()
  put(p, 'ZREMRANGEBYSCORE', keys.workers, '-inf', now - 3600000)
  commit(p)
  return removed, more
end

-- The message's kind and its fields, checked; raises a refusal.
local function read_message(args)
  local kind_at
  for i = 1, #args, 2 do
    if args[i] == 'kind' then kind_at = i end
  end
  local kind = kind_at and table.remove(args, kind_at + 1) or ''
  if kind_at then table.remove(args, kind_at) end
  return { kind = kind, fields = read_fields(kind, args, 1) }
end
local function refusal_of(e)
  if type(e) == 'table' and e.refusal then return e.refusal end
  local text = type(e) == 'table' and e.err or tostring(e)
  if is_denial(text) then error(e) end -- it is the scheduler's user, not the message
  return text
end

-- One message: submitted like any other; its answer is the record job:<stream id>. full: pools without room, whose messages wait in their
-- order. Answers false when it has to wait.
local function answer_message(id, args, full)
  local ok, made = pcall(read_message, args)
  local pool = ok and (made.fields.pool or fields.pool.default)
  if pool and full[pool] then return false end
  if ok then ok, made = pcall(prepare, made.kind, made.fields) end
  local refusal = not ok and refusal_of(made)
  if refusal and string.match(refusal, '^FULL ') then
    full[pool] = true
    return false
  end
  local p = ok and made.plan or plan()
  local state, name, value = 'accepted', 'ids', ok and table.concat(made.ids, ' ')
  if refusal then state, name, value = 'rejected', 'reason', refusal end
  if refusal then tally(p, 'refused:' .. string.match(refusal, '^%a+')) end
  put(p, 'HSET', key('job', id), 'state', state, 'created', now, 'ended', now, name, value)
  put(p, 'ZADD', keys[state], integer_text(now + retention_s(p, {}, state) * 1000), id)
  put(p, 'XADD', keys.ev, 'MAXLEN', '~', EVENTS_KEPT, '*', 'id', id, 'state', state, name, value)
  put(p, 'XDEL', keys.inbox, id)
  commit(p)
  return true
end
-- While messages wait for room, the next call goes on behind those that this one has looked at, and from the start after the last one.
local function read_inbox(from)
  local entries = call('XRANGE', keys.inbox, from and '(' .. from or '-', '+', 'COUNT', BATCH)
  local answered, full, p = 0, {}, plan()
  for _, entry in ipairs(entries) do
    if answer_message(entry[1], entry[2], full) then answered = answered + 1 end
  end
  if #entries == BATCH and (answered < BATCH or from) then put(p, 'HSET', keys.cfg, 'inbox_at', entries[BATCH][1])
  elseif from then put(p, 'HDEL', keys.cfg, 'inbox_at') end
  commit(p)
  return answered
end

-- reap [lib]: lost leases, due delays, the inbox, records past their time; then where the queue stands, so a scheduler sees when Redis
-- has lost writes (tick or seq go back) or its own library is newer. O(what is due), at most 200 of a sort: `more` says to call again.
function verbs.reap(args)
  local o = read_options({ lib = worker_options.lib }, args, 1)
  if o.lib and tonumber(o.lib) < OLDEST_CLIENT then check_library(o.lib) end
  local reaped, full, lease_ms, inbox_at = read_cfg('reaped', 'full', 'lease_ms', 'inbox_at')
  grant_grace(reaped, lease_ms)
  watch_memory(full)
  local lost, promoted, answered = reap_leases(), promote_delayed(), read_inbox(inbox_at)
  local removed, more = remove_old()
  local p = plan()
  put(p, 'HINCRBY', keys.cfg, 'tick', 1)
  commit(p)
  local list, after = {}, call('HMGET', keys.cfg, 'tick', 'seq', 'epoch', 'lease_ms')
  add(list, 'lost', lost)
  add(list, 'promoted', promoted)
  add(list, 'answered', answered)
  add(list, 'removed', removed)
  add(list, 'more', (more or lost == BATCH or promoted == BATCH or answered == BATCH) and 1 or 0)
  add(list, 'tick', after[1])
  add(list, 'seq', after[2] or 0)
  add(list, 'epoch', after[3] or '')
  add(list, 'configured', after[4] and 1 or 0)
  add(list, 'library', VERSION)
  return list
end

-- Reading: status, explain, list, stats, version. None of these writes.

local FIGURES = { 'image_auroc', 'pixel_auroc', 'aupro', 'f1_max' }
local DATES = { created = 'submitted', due = 'not_before', started = 'started', ended = 'ended' }
local UNSEEN = { nonce = true, queued = true, seq = true, ev_at = true, stop = true, run_ended = true, summary = true }

-- status <id>: the record for people: state, progress, figures, reason and result first; `summary` by its size alone.
function verbs.status(args)
  local j = must_find(args[1] or '')
  local list, told = {}, { id = true }
  local function tell(name)
    if not told[name] and not UNSEEN[name] and not DATES[name] then add(list, name, j[name]) end
    told[name] = true
  end
  for _, name in ipairs({ 'state', 'kind', 'ids', 'phase' }) do tell(name) end
  if HELD[j.state] then
    for _, name in ipairs({ 'done', 'total', 'rate', 'eta_s' }) do tell(name) end
  end
  for _, name in ipairs({ 'reason', 'cause' }) do tell(name) end
  for _, name in ipairs(FIGURES) do tell(name) end
  for _, name in ipairs(sorted_names(j)) do -- the other facts
    if is_fact(name) then tell(name) end
  end
  for _, name in ipairs({ 'result', 'pool', 'prio' }) do
    if not j[name] and fields[name] then j[name] = kinds[j.kind] and fields[name].default end
    tell(name)
  end
  for _, name in ipairs(kinds[j.kind] and kinds[j.kind].own or {}) do tell(name) end
  for _, name in ipairs({ 'model_url', 'backbone_url', 'inputs', 'after', 'timeout', 'retries', 'keep', 'trace' }) do tell(name) end
  for _, name in ipairs({ 'worker', 'run', 'failures', 'lost', 'preempted' }) do tell(name) end
  for _, name in ipairs({ 'created', 'due', 'started', 'ended' }) do add(list, DATES[name], j[name] and date_text(j[name])) end
  add(list, 'summary_bytes', j.summary and #j.summary)
  return list
end

local function workers_now() -- those seen lately: a list of {id, fields}
  local list = {}
  for _, id in ipairs(call('ZRANGE', keys.workers, 0, 999)) do
    local w = table_of(call('HGETALL', key('worker', id)))
    if w.seen then
      w.id = id
      list[#list + 1] = w
    end
  end
  return list
end
local function takes(w, pool, kind)
  if (w.pool or 'default') ~= pool then return false end
  for _, name in ipairs(words_of(w.kinds)) do
    if name == kind then return true end
  end
  return false
end

local function progress_of(j)
  if not j.phase or j.phase == '' then return '' end
  return string.format(', %s%s', j.phase, j.done and j.total and string.format(' %s of %s', j.done, j.total) or '')
end

local function explain_queued(j, say)
  local pool = pool_of(j)
  local paused = call('HMGET', keys.cfg, 'paused:kind:' .. j.kind, names_of(pool).paused)
  if paused[1] then say('kind %s is paused: FCALL mffa_resume 0 kind %s', j.kind, j.kind) end
  if paused[2] then say('pool %s is paused: FCALL mffa_resume 0 pool %s', pool, pool) end
  local before = 0
  for _, kind in ipairs(RUN_KINDS) do before = before + call('ZCOUNT', names_of(pool).ready[kind], '-inf', '(' .. ready_score(j)) end
  say('%d queued jobs of pool %s come before it', before, pool)
  local able, busy = 0, 0
  for _, w in ipairs(workers_now()) do
    if takes(w, pool, j.kind) then
      able = able + 1
      if w.job then busy = busy + 1 end
    end
  end
  if able == 0 then say('no worker of pool %s takes %s jobs: start one', pool, j.kind)
  else say('%d workers take such jobs, %d of them busy', able, busy) end
end

-- explain <id>: sentences that say why a job is where it is.
function verbs.explain(args)
  local j, lines = must_find(args[1] or ''), {}
  local function say(...) lines[#lines + 1] = string.format(...) end
  say('%s is %s', j.id, j.state)
  if j.state == 'queued' then explain_queued(j, say) end
  if j.state == 'delayed' then
    say('it starts in %d s at the earliest', math.max(0, math.ceil((call('ZSCORE', keys.delayed, j.id) - now) / 1000)))
  end
  if j.state == 'blocked' then
    local waits = call('SMEMBERS', key('wait', j.id))
    table.sort(waits)
    for _, id in ipairs(waits) do
      local parent = peek_at(id, 'state', 'kind', 'phase', 'done', 'total')
      say('it waits for %s (%s, %s%s)', id, parent.kind or '?', parent.state or 'gone', progress_of(parent))
    end
  end
  if HELD[j.state] then
    local left = (call('ZSCORE', keys.lease, j.id) or now) - now
    say('worker %s has it, run %s%s', j.worker, j.run, progress_of(j))
    if left < 0 then say('its lease ran out %d s ago: without a scheduler nobody takes it back', math.floor(-left / 1000))
    else say('its lease lasts %d s without a beat', math.floor(left / 1000)) end
  end
  if j.reason then say('%s', j.reason) end
  if j.state == 'skipped' then say('FCALL mffa_retry 0 %s brings both back', j.cause) end
  if RETRYABLE[j.state] then say('FCALL mffa_retry 0 %s runs it again', j.id) end
  return lines
end

-- The indexes in the order in which mffa_list walks them.
local LIST_ORDER = { 'running', 'queued', 'delayed', 'blocked', 'failed', 'dead', 'done', 'cancelled', 'skipped', 'rejected' }
local function indexes(state, pool, kind)
  local list = {}
  for _, name in ipairs(LIST_ORDER) do
    if not state or state == name or (state == 'cancelling' and name == 'running') then
      if name == 'queued' then
        for _, of in ipairs(pool and { pool } or pools_now()) do
          for _, k in ipairs(kind and { kind } or RUN_KINDS) do list[#list + 1] = { names_of(of).ready[k], 'ZRANGE' } end
        end
      elseif name == 'running' then
        list[#list + 1] = { keys.lease, 'ZRANGE' }
      else
        list[#list + 1] = { keys[name], ENDED[name] and 'ZREVRANGE' or 'ZRANGE' }
      end
    end
  end
  return list
end

local list_options = {
  state = {
    type = 'choice',
    words = { 'running', 'cancelling', 'queued', 'delayed', 'blocked', 'failed', 'dead', 'done', 'cancelled', 'skipped', 'rejected' },
  },
  kind = { type = 'choice', words = RUN_KINDS },
  pool = fields.pool,
  limit = { type = 'integer', min = 1, max = 1000 },
  cursor = { type = 'name', bytes = 32 },
}
local LIST_LOOKS = 2000 -- records that one call reads at most

local function list_row(id, o)
  local j = peek_at(id, 'state', 'kind', 'pool', 'prio', 'phase', 'done', 'total', 'reason')
  if not j.state or o.state and j.state ~= o.state then return nil end
  if o.kind and j.kind ~= o.kind or o.pool and pool_of(j) ~= o.pool then return nil end
  local row = { 'id', id, 'state', j.state }
  add(row, 'kind', j.kind)
  if j.kind then
    add(row, 'pool', pool_of(j))
    add(row, 'prio', j.prio or fields.prio.default)
  end
  local progress = HELD[j.state] and progress_of(j) or ''
  if progress ~= '' then add(row, 'progress', string.sub(progress, 3)) end
  add(row, 'reason', j.reason)
  return row
end

-- list [state] [kind] [pool] [limit: 50] [cursor]: the next cursor ("0": no more) and the rows. A job that changes its state between two
-- pages may come twice or not at all. O(limit), or 2000 records when a filter leaves little.
function verbs.list(args)
  local o = read_options(list_options, args, 1)
  local index, offset = string.match(o.cursor or '1:0', '^(%d+):(%d+)$')
  if not index then refuse('BADFIELD', 'cursor "%s" does not fit: give the first element of the last answer', shown(o.cursor)) end
  index, offset = tonumber(index), tonumber(offset)
  local all, rows, limit, looks = indexes(o.state, o.pool, o.kind), {}, tonumber(o.limit or 50), LIST_LOOKS
  while all[index] and #rows < limit and looks > 0 do
    local ids = call(all[index][2], all[index][1], offset, offset + math.min(looks, limit) - 1)
    for _, id in ipairs(ids) do
      if #rows == limit then break end
      offset, looks = offset + 1, looks - 1
      rows[#rows + 1] = list_row(id, o)
    end
    if #ids == 0 then
      index, offset = index + 1, 0
      looks = looks - 1
    end
  end
  return { all[index] and index .. ':' .. integer_text(offset) or '0', rows }
end

-- stats: counts by state, pool and worker.
function verbs.stats()
  local list, queued, pools, cfg = {}, 0, {}, table_of(call('HGETALL', keys.cfg))
  local unended = open_of(cfg)
  for _, pool in ipairs(sorted_names(unended)) do
    local ready = 0
    for _, kind in ipairs(RUN_KINDS) do ready = ready + call('ZCARD', names_of(pool).ready[kind]) end
    queued = queued + ready
    local open = call('ZCARD', names_of(pool).open)
    if unended[pool] > 0 then
      add(pools, 'pool:' .. pool .. ':queued', ready)
      add(pools, 'pool:' .. pool .. ':open', open)
    end
  end
  add(list, 'queued', queued)
  add(list, 'running', call('ZCARD', keys.lease))
  for _, state in ipairs(LIST_ORDER) do
    if state ~= 'queued' and state ~= 'running' then add(list, state, call('ZCARD', keys[state])) end
  end
  add(list, 'inbox', call('XLEN', keys.inbox))
  for i = 1, #pools do list[#list + 1] = pools[i] end
  for _, name in ipairs(sorted_names(cfg)) do
    if string.match(name, '^paused:') then add(list, name, date_text(cfg[name])) end
  end
  if cfg.full then add(list, 'full', 'Redis is almost out of memory, submissions are refused') end
  local workers = workers_now()
  add(list, 'workers', #workers)
  for _, w in ipairs(workers) do
    local text = string.format('%s %s %s%s', w.pool or 'default', w.kinds or '?', w.job or 'idle', w.drain and ' draining' or '')
    add(list, 'worker:' .. w.id, text)
  end
  add(list, 'submitted_so_far', cfg.seq or 0)
  add(list, 'library', VERSION)
  return list
end

function verbs.version() return VERSION end

-- Numbers for monitoring: metrics. It writes nothing.

-- How long the longest waiting queued job of a pool has waited, in ms. open:<pool> holds queued and running jobs by when they were queued,
-- so running ones before it are passed over: O(running jobs of the pool), at most 1000.
local function oldest_queued_ms(pool)
  for from = 0, 900, 100 do
    local entries = call('ZRANGE', names_of(pool).open, from, from + 99, 'WITHSCORES')
    for i = 1, #entries, 2 do
      if not call('ZSCORE', keys.lease, entries[i]) then return math.max(0, now - tonumber(entries[i + 1])) end
    end
    if #entries < 200 then return 0 end
  end
  return 0
end

local function pool_metrics(tell)
  for _, pool in ipairs(pools_now()) do
    local ready = 0
    for _, kind in ipairs(RUN_KINDS) do ready = ready + call('ZCARD', names_of(pool).ready[kind]) end
    tell('pool_jobs', pool, 'queued', ready)
    tell('pool_jobs', pool, 'running', call('ZCARD', names_of(pool).open) - ready)
    tell('pool_oldest_queued_ms', pool, '', ready > 0 and oldest_queued_ms(pool) or 0)
  end
  local workers = {}
  for _, w in ipairs(workers_now()) do
    local pool = w.pool or 'default'
    workers[pool] = workers[pool] or { idle = 0, busy = 0 }
    local state = w.job and 'busy' or 'idle'
    workers[pool][state] = workers[pool][state] + 1
  end
  for _, pool in ipairs(sorted_names(workers)) do
    tell('pool_workers', pool, 'busy', workers[pool].busy)
    tell('pool_workers', pool, 'idle', workers[pool].idle)
  end
end

-- What was counted since the keys were made, with a 0 for what has not happened yet: so its first time is seen as an increase.
local function counts_so_far()
  local counts = { ['refused:BADKIND'] = 0, ['refused:BADFIELD'] = 0 }
  for _, kind in ipairs(RUN_KINDS) do
    for _, what in ipairs({ 'lost', 'preempted', 'failures' }) do counts[what .. ':' .. kind] = 0 end
    for _, state in ipairs({ 'done', 'failed', 'dead', 'cancelled', 'skipped' }) do counts['ended:' .. kind .. ':' .. state] = 0 end
  end
  for name, value in pairs(table_of(call('HGETALL', keys.counts))) do counts[name] = value end
  return counts
end

-- metrics: a flat list of four words a number: its name, two labels ("" for none), the value.
function verbs.metrics()
  local list, queued, cfg = {}, 0, table_of(call('HGETALL', keys.cfg))
  local function tell(...)
    for _, word in ipairs({ ... }) do list[#list + 1] = tostring(word) end
  end
  pool_metrics(tell)
  for i = 1, #list, 4 do
    if list[i] == 'pool_jobs' and list[i + 2] == 'queued' then queued = queued + tonumber(list[i + 3]) end
  end
  for _, state in ipairs(LIST_ORDER) do
    local n = state == 'queued' and queued or call('ZCARD', keys[state == 'running' and 'lease' or state])
    tell('queue_jobs', state, '', n)
  end
  tell('inbox', '', '', call('XLEN', keys.inbox))
  tell('full', '', '', cfg.full and 1 or 0)
  tell('submitted', '', '', cfg.seq or 0)
  for _, name in ipairs(sorted_names(cfg)) do
    local what, which = string.match(name, '^paused:(%a+):(.+)$')
    if what then tell('paused', what, which, 1) end
  end
  local counts = counts_so_far()
  for _, name in ipairs(sorted_names(counts)) do
    local what, label, label2 = string.match(name, '^(%a+):(%a+):?(%a*)$')
    if what then tell(what, label, label2, counts[name]) end
  end
  return list
end

#!lua name=mffa
-- The queue's rules, as one Redis Functions library. The build joins the files of this folder in the order of functions.cmake.
-- README.md beside this file is the interface: verbs, answers, error codes, keys.
--
-- How a call works: a verb reads and checks everything first and notes its writes in a plan; `commit` asks Redis whether the caller
-- may do each of them and only then does them all. So a refused or denied call has written nothing. What always goes together is one
-- function <name>_writes(act, ...): with `may` for act it asks, with `call` it does; it ends at the first that is denied (what Redis
-- answers to a write is never false).
-- While a library is loaded Redis offers it none of Lua's own functions (no pairs, no string): outside of functions there is only
-- plain language here. Time is Redis' TIME alone. States change in jobs.lua alone.

-- What the functions use of Lua and Redis, as locals from the first call on: a global is looked for in three tables each time.
local register_function = redis.register_function
local function globals()
  return redis, redis.call, redis.acl_check_cmd, string, table, math, error, ipairs, pairs, pcall, select, setmetatable, tonumber, tostring,
    type, unpack
end
local redis, call, may, string, table, math, error, ipairs, pairs, pcall, select, setmetatable, tonumber, tostring, type, unpack

local VERSION = 3       -- of this library; a loader replaces older ones only, so code that differs from the last release's says another
local OLDEST_CLIENT = 1 -- the oldest client (its own VERSION) that still speaks our argument order

local DEFAULTS = { -- of the settings that mffa_configure stores in cfg
  lease_ms = 30000,
  backoff_ms = 10000,
  retention_s = 604800,
  dead_retention_s = 2592000,
  max_queued = 1000000,
}
-- A hash with so long a text is a table to Redis, where each field is found at once; a short one is a list, searched from its start.
local ABOUT_CFG = 'settings, counters and pauses of this queue: scheduler/functions/README.md says what each one is'
local LOSSES_TO_DIE = 3
local BACKOFF_LIMIT_MS = 600000
local EVENTS_KEPT, JOB_EVENTS_KEPT = '10000', '256'
local EVENTS_TTL_MS = '86400000' -- of ev:<id>, after the end
local IDEM_TTL_MS = '86400000'
local LISTED_MS = 20000 -- how seldom a worker's place in the list and its record's time to live, at least a minute, are renewed
local LIMITS = {
  pools = 256, parents = 64, facts = 64, fact_bytes = 1024, summary_bytes = 65536, reason_bytes = 2000,
  url_bytes = 1024,
}

-- What Redis says when the caller's user may not do a command: version 7's and version 8's words.
local NO_RIGHT = { 'The user executing the script', 'ACL failure in script' }

local RUN_KINDS = { 'finetune', 'fit', 'evaluate', 'score', 'verify' } -- what a worker runs
local NONE = {} -- never written to
local ENDED = { done = true, failed = true, dead = true, cancelled = true, skipped = true, rejected = true, accepted = true }
local RETRYABLE = { failed = true, dead = true, cancelled = true }
local HELD = { running = true, cancelling = true } -- by a worker, with a lease

-- The call in hand, set by answer_to in verbs.lua.
local prefix, keys = '', {} -- 'mffa:{main}:', and its keys that have no id, by name
local pool_names, pools_named = {}, 0 -- names of a pool's keys, and how many pools are there
local now, now_text = 0, '0' -- ms; as text, since Redis takes long to write a number

local function key(name, id) return prefix .. name .. ':' .. id end
local function choose_queue(of)
  prefix, pool_names, pools_named = of, {}, 0
  keys = setmetatable({}, {
    __index = function(made, name)
      made[name] = of .. name
      return of .. name
    end,
  })
end

-- The names of a pool's keys, ready[kind] among them, and of its fields in cfg; before: where its best job was, see best_ready.
local function names_of(pool)
  local names = pool_names[pool]
  if names then return names end
  if pools_named == LIMITS.pools then pool_names, pools_named = {}, 0 end
  names = { open = key('open', pool), wake = key('wake', pool), ready = {}, before = 0 }
  names.count, names.idle, names.paused = 'open:' .. pool, 'idle:' .. pool, 'paused:pool:' .. pool
  for i = 1, #RUN_KINDS do names.ready[RUN_KINDS[i]] = key('ready', pool .. ':' .. RUN_KINDS[i]) end
  pool_names[pool], pools_named = names, pools_named + 1
  return names
end

-- Refusals: one code word and one sentence, raised as an error and answered by error_answer in verbs.lua.
local function refuse(code, sentence, ...) error({ refusal = code .. ' ' .. string.format(sentence, ...) }) end

-- A caller's text as part of a sentence: one line, not endless.
local function shown(text)
  local line = string.gsub(text, '%c', ' ')
  return #line > 64 and string.sub(line, 1, 61) .. '...' or line
end

local function is_denial(text)
  for i = 1, #NO_RIGHT do
    if string.find(text, NO_RIGHT[i], 1, true) then return true end
  end
  return false
end

-- Plans: n commands. The nils make room for as many as most verbs need, since a table that grows is copied each time.
-- command: the HSET of `job`'s record, and cfg: the one of cfg, which more fields may still join; idle: pool -> workers that wait;
-- retention_s: of cfg, where it is known; writes: place -> function, where more than a command is noted.
local function plan()
  return { nil, nil, nil, nil, nil, nil, nil, nil, n = 0, job = nil, command = nil, cfg = nil, idle = nil, writes = nil, retention_s = nil }
end
local function put_list(p, command)
  local n = p.n + 1
  p.n, p[n] = n, command
end
local function put(p, ...) put_list(p, { ... }) end
local function set_cfg(p, name, value)
  if not p.cfg then
    p.cfg = { 'HSET', keys.cfg }
    put_list(p, p.cfg)
  end
  local n = #p.cfg
  p.cfg[n + 1], p.cfg[n + 2] = name, value
end
local function put_writes(p, writes, ...)
  put(p, ...)
  if not p.writes then p.writes = {} end
  p.writes[p.n] = writes
end
local function must(...)
  if may(...) then return true end -- whole commands: Redis 8 counts the arguments
  error({ refusal = string.format("NOPERM this user may not %s '%s': nothing was changed", (...), (select(2, ...))) })
end
local function commit(p)
  local writes = p.writes or NONE
  for i = 1, p.n do
    if writes[i] then
      if not writes[i](may, unpack(p[i])) then writes[i](must, unpack(p[i])) end
    elseif not may(unpack(p[i])) then
      must(unpack(p[i]))
    end
  end
  for i = 1, p.n do
    if writes[i] then writes[i](call, unpack(p[i])) else call(unpack(p[i])) end
  end
end

-- Flat lists name, value, name, value... and tables.
local function table_of(flat)
  local t = {}
  for i = 1, #flat, 2 do t[flat[i]] = flat[i + 1] end
  return t
end
local function sorted_names(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return names
end
local function add(list, name, value)
  if value ~= nil then
    local n = #list
    list[n + 1], list[n + 2] = name, tostring(value)
  end
end
local function words_of(text)
  local words = {}
  for word in string.gmatch(text or '', '[^%s,]+') do words[#words + 1] = word end
  return words
end
local function integer_text(n) return string.format('%d', n) end

-- Milliseconds since 1970 as 2026-01-31T12:00:00Z (days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms").
local function date_text(ms)
  local s = math.floor(tonumber(ms) / 1000)
  local days, rest = math.floor(s / 86400) + 719468, s % 86400
  local era = math.floor(days / 146097)
  local doe = days - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02dZ', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(rest / 3600), math.floor(rest % 3600 / 60), rest % 60)
end

-- The settings (numbers; one that is not stored has its default) and the counters (texts, or false) that a verb names.
local function read_cfg(...)
  local names, values = { ... }, call('HMGET', keys.cfg, ...)
  for i = 1, #names do
    local default = DEFAULTS[names[i]]
    if default then values[i] = tonumber(values[i]) or default end
  end
  return unpack(values)
end

-- Ids are <epoch>-<number>. The number counts on for ever, the epoch belongs to this library in this Redis process: after a restart,
-- a fail-over or a reload another epoch is drawn, so an id given out before acknowledged writes were lost never comes again.
local process
local draws = 0 -- of epochs in this process: keys that vanish (FLUSHALL) and come anew get another one too
local function process_token()
  if not process then
    local t = call('TIME')
    local run_id = may('INFO', 'server') and string.match(call('INFO', 'server'), 'run_id:(%x+)') or ''
    process = string.sub(redis.sha1hex(t[1] .. '.' .. t[2] .. run_id), 1, 16)
  end
  return process
end
local FIRST, OTHERS = 'abcdefghjkmnpqrstuvwxyz', 'abcdefghjkmnpqrstuvwxyz23456789' -- none that look like 0, 1
local function epoch_from(token, previous)
  local hash = redis.sha1hex(token)
  local function letter(at, of)
    local n = tonumber(string.sub(hash, at, at + 4), 16) % #of + 1
    return string.sub(of, n, n)
  end
  local epoch = letter(1, FIRST) .. letter(6, OTHERS) .. letter(11, OTHERS) .. letter(16, OTHERS)
  return epoch == previous and epoch_from(hash, previous) or epoch
end
-- The epoch of the next ids, noted in the plan where it is a new one. epoch, drawn_by: of the last ids, and the process that drew it.
local function epoch_now(p, epoch, drawn_by)
  if drawn_by == process_token() then return epoch end
  draws = draws + 1
  epoch = epoch_from(process .. ':' .. draws, epoch)
  set_cfg(p, 'process', process)
  set_cfg(p, 'epoch', epoch)
  return epoch
end

-- Verbs: name -> function(args), registered in verbs.lua.
local verbs = {}

#!lua name=mffa
-- The queue's rules, as one Redis Functions library. The build joins the files of this folder in the order of functions.cmake.
-- README.md beside this file is the interface: verbs, answers, error codes, keys.
--
-- How a call works: a verb reads and checks everything first and notes its writes in a plan; `commit` asks Redis whether the caller
-- may do each of them and only then does them all. So a refused or denied call has written nothing.
-- While a library is loaded Redis offers it none of Lua's own functions (no pairs, no string): outside of functions there is only
-- plain language here. Time is Redis' TIME alone. States change in jobs.lua alone.

-- What the functions use of Lua and Redis, as locals from the first call on: a global is looked for in three tables each time.
local register_function = redis.register_function
local function globals() return redis, string, table, math, error, ipairs, pairs, pcall, tonumber, tostring, type, unpack end
local redis, string, table, math, error, ipairs, pairs, pcall, tonumber, tostring, type, unpack

local VERSION = 2       -- of this library; a loader replaces older ones only, so code that differs from the last release's says another
local OLDEST_CLIENT = 1 -- the oldest client (its own VERSION) that still speaks our argument order

local DEFAULTS = { -- of the settings that mffa_configure stores in cfg
  lease_ms = 30000,
  backoff_ms = 10000,
  retention_s = 604800,
  dead_retention_s = 2592000,
  max_queued = 1000000,
}
local LOSSES_TO_DIE = 3
local BACKOFF_LIMIT_MS = 600000
local EVENTS_KEPT, JOB_EVENTS_KEPT = '10000', '256'
local EVENTS_TTL_MS = '86400000' -- of ev:<id>, after the end
local IDEM_TTL_MS = '86400000'
local WAKES_KEPT = 64
local LISTED_MS = 20000 -- how seldom a worker's place in the list and its record's time to live, at least a minute, are renewed
local POOLS_MAX, PARENTS_MAX = 256, 64
local FACTS_MAX, FACT_BYTES, SUMMARY_BYTES, REASON_BYTES, URL_BYTES = 64, 1024, 65536, 2000, 1024

-- What Redis says when the caller's user may not do a command: version 7's and version 8's words.
local NO_RIGHT = { 'The user executing the script', 'ACL failure in script' }

local ENDED = { done = true, failed = true, dead = true, cancelled = true, skipped = true, rejected = true, accepted = true }
local HELD = { running = true, cancelling = true } -- by a worker, with a lease

-- The call in hand, set by `verb` below.
local prefix, single_keys = '', {} -- 'mffa:{main}:', and its keys that have no id
local now, now_text = 0, '0' -- ms; as text, since Redis takes long to write a number

local function key(name, id)
  if id then return prefix .. name .. ':' .. id end
  local known = single_keys[name]
  if not known then
    known = prefix .. name
    single_keys[name] = known
  end
  return known
end

-- Refusals: one code word and one sentence, raised as an error and answered by `verb`.
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
-- command: the HSET of `record`, which more fields may still join.
local function plan()
  return { nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, n = 0, record = nil, command = nil, wakes = nil }
end
local function put_list(p, command)
  local n = p.n + 1
  p.n, p[n] = n, command
end
local function put(p, ...) put_list(p, { ... }) end
local function commit(p)
  for i = 1, p.n do
    if not redis.acl_check_cmd(unpack(p[i])) then -- whole: Redis 8 counts the arguments
      error({ refusal = string.format("NOPERM this user may not %s '%s': nothing was changed", p[i][1], p[i][2]) })
    end
  end
  for i = 1, p.n do redis.call(unpack(p[i])) end
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
  local names, values = { ... }, redis.call('HMGET', key('cfg'), ...)
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
    local t = redis.call('TIME')
    local run_id = redis.acl_check_cmd('INFO', 'server') and string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
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
-- Notes in the plan that n more ids are taken; answers their epoch. epoch, drawn_by: of the last ids, and the process that drew it.
local function take_ids(p, epoch, drawn_by, n)
  if drawn_by ~= process_token() then
    draws = draws + 1
    epoch = epoch_from(process .. ':' .. draws, epoch)
    put(p, 'HSET', key('cfg'), 'process', process, 'epoch', epoch)
  end
  put(p, 'HINCRBY', key('cfg'), 'seq', integer_text(n))
  return epoch
end

-- Verbs: name -> function(args), registered in verbs.lua.
local verbs = {}

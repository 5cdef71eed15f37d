-- Registration: every verb as mffa_<verb>, with its Redis function flags.
--   no-writes  may be called with FCALL_RO, also on a replica
--   allow-oom  work in hand is never refused for want of memory; submitting is (FULL, or Redis' own OOM)

local READS = { 'status', 'explain', 'list', 'stats', 'metrics', 'help', 'check', 'peek', 'version' }
local ALWAYS = { 'claim', 'beat', 'finish', 'fail', 'release', 'cancel', 'pause', 'resume', 'drain', 'configure', 'reap' }
local IF_ROOM = { 'submit', 'retry', 'setprio' }

local function queue_prefix(keys)
  if #keys == 0 then return 'mffa:{main}:' end
  if #keys > 1 then refuse('BADFIELD', '%d keys are given: give 0 keys, or 1 key mffa:{<queue>}', #keys) end
  local name = keys[1]
  if not string.match(name, '^mffa:{[%w._-]+}$') then refuse('BADFIELD', 'key "%s" is not a queue: give 0 keys, or 1 key mffa:{<queue>}', shown(name)) end
  return name .. ':'
end

local function call(verb, keys, args)
  local queue = queue_prefix(keys)
  if queue ~= prefix then prefix, single_keys = queue, {} end
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
  now_text = integer_text(now)
  return verb(args)
end

-- What went wrong as an error answer: our own refusal, or what Redis said to one of our commands (a table or, before 7.2, a text).
local function error_answer(name, e)
  if type(e) == 'table' and e.refusal then return redis.error_reply(e.refusal) end
  local text = type(e) == 'table' and e.err or tostring(e)
  if is_denial(text) then text = 'NOPERM this user may not do all that mffa_' .. name .. ' does: nothing was changed' end
  return redis.error_reply(string.match(text, '^%u+ ') and text or 'ERR ' .. text)
end

local function register(names, flags)
  for i = 1, #names do
    local name, verb = names[i], verbs[names[i]]
    register_function({
      function_name = 'mffa_' .. name,
      flags = flags,
      callback = function(keys, args)
        if not redis then redis, string, table, math, error, ipairs, pairs, pcall, tonumber, tostring, type, unpack = globals() end
        local ok, answer = pcall(call, verb, keys, args)
        if ok then return answer end
        return error_answer(name, answer)
      end,
    })
  end
end
register(READS, { 'no-writes' })
register(ALWAYS, { 'allow-oom' })
register(IF_ROOM, {})

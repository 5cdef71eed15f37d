-- Registration: every verb as mffa_<verb>, with its Redis function flags.
--   no-writes  may be called with FCALL_RO, also on a replica
--   allow-oom  work in hand is never refused for want of memory; submitting is (FULL, or Redis' own OOM)

local READS = { 'status', 'explain', 'list', 'stats', 'metrics', 'help', 'check', 'peek', 'version' }
local ALWAYS = { 'claim', 'beat', 'finish', 'fail', 'release', 'cancel', 'pause', 'resume', 'drain', 'configure', 'reap' }
local IF_ROOM = { 'submit', 'retry', 'setprio' }

local function queue_prefix(given)
  if #given == 0 then return 'mffa:{main}:' end
  if #given > 1 then refuse('BADFIELD', '%d keys are given: give 0 keys, or 1 key mffa:{<queue>}', #given) end
  if string.match(given[1], '^mffa:{[%w._-]+}$') then return given[1] .. ':' end
  refuse('BADFIELD', 'key "%s" is not a queue: give 0 keys, or 1 key mffa:{<queue>}', shown(given[1]))
end

local function answer_to(verb, given, args)
  local queue = queue_prefix(given)
  if queue ~= prefix then choose_queue(queue) end
  local t = call('TIME') -- s and us
  now_text = t[1] .. string.sub('00000' .. t[2], -6, -4)
  now = tonumber(now_text)
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
      callback = function(given, args)
        if not redis then
          redis, call, may, string, table, math, error, ipairs, pairs, pcall, select, setmetatable, tonumber, tostring, type,
            unpack = globals()
        end
        local ok, answer = pcall(answer_to, verb, given, args)
        if ok then return answer end
        return error_answer(name, answer)
      end,
    })
  end
end
register(READS, { 'no-writes' })
register(ALWAYS, { 'allow-oom' })
register(IF_ROOM, {})

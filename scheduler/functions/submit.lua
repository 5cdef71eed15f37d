-- Submitting: submit, check, help. A pipeline makes its jobs in one step.

-- The jobs that a kind and its fields stand for: a list of {kind, fields, after = places in this list}.
local function only(given, names, also)
  local t = {}
  for _, name in ipairs(names) do t[name] = given[name] end
  for _, name in ipairs({ 'prio', 'delay', 'retries', 'timeout', 'pool', 'keep', 'trace' }) do t[name] = given[name] end
  for name, value in pairs(also or {}) do t[name] = value end
  return t
end
local function expand(kind, given)
  if kind ~= 'pipeline' then return { { kind = kind, fields = given } } end
  local parts = {}
  if given.psg ~= 'off' then
    parts[1] = { kind = 'finetune', fields = only(given, kinds.finetune.own) }
  else
    for _, name in ipairs({ 'epochs', 'batch', 'learning_rate' }) do
      if given[name] then refuse('BADFIELD', '%s is for fine-tuning and psg is off: leave one of them out', name) end
    end
  end
  local tuned = #parts > 0
  parts[#parts + 1] = { kind = 'fit', fields = only(given, kinds.fit.own), references = tuned and { backbone = #parts } or {} }
  parts[#parts + 1] = { kind = 'evaluate', fields = only(given, kinds.evaluate.own), references = { model = #parts } }
  parts[1].fields.after, parts[1].fields.idem = given.after, given.idem
  for i = 2, #parts do parts[i].fields.delay = nil end -- the first one's delay is everyone's
  return parts
end

-- The parents that a job given to us must wait for: those of `after`, and jobs named as model or backbone. Of one that is done already
-- the answer's second part holds what it published.
local function check_parent(id, name, kind)
  local parent = peek_at(id, 'state', 'kind', 'cause', 'result')
  if not parent.state then refuse('NOPARENT', '%s names %s and there is no such job: submit it first', name, id) end
  if kind and parent.kind ~= kind then
    refuse('BADFIELD', '%s names %s, a %s job: give the id of a %s job', name, id, parent.kind or '?', kind)
  end
  if bad_end(parent) then
    local root = parent.cause or id
    refuse('PARENTENDED', '%s names %s and it is %s: retry %s first, or name another', name, id, parent.state, root)
  end
  return parent
end
local function add_parent(waits, published, id, name, kind)
  local parent = check_parent(id, name, kind)
  if parent.state == 'done' then
    if kind then published[name .. '_url'] = parent.result end
  elseif not waits[id] then
    waits[#waits + 1], waits[id] = id, true
  end
end
local function parents_of(given)
  if not (given.after or given.model or given.backbone) then return NONE, NONE end
  local waits, published = {}, {}
  for _, id in ipairs(given.after and words_of(given.after) or {}) do add_parent(waits, published, id, 'after') end
  for i = 1, #REFERENCES do
    local name = REFERENCES[i]
    local id = given[name]
    if id and is_job_id(id) then add_parent(waits, published, id, name, fields[name].of) end
  end
  return waits, published
end

-- Idempotency keys: idem:<key> holds the ids and a short hash of each field, so a differing one can be named.
local function mark_of(kind, given)
  local marks = { 'kind=' .. string.sub(redis.sha1hex(kind), 1, 8) }
  for _, name in ipairs(sorted_names(given)) do marks[#marks + 1] = name .. '=' .. string.sub(redis.sha1hex(given[name]), 1, 8) end
  return table.concat(marks, ' ')
end
local function earlier(kind, given)
  local stored = call('GET', key('idem', given.idem))
  if not stored then return nil end
  local ids, marks = string.match(stored, '^(.-)|(.*)$')
  local mark = mark_of(kind, given)
  if marks ~= mark then
    local old, new = {}, {}
    for name, hash in string.gmatch(marks, '(%S+)=(%S+)') do old[name] = hash end
    for name, hash in string.gmatch(mark, '(%S+)=(%S+)') do new[name] = hash end
    for name, hash in pairs(old) do
      if new[name] ~= hash then new[name] = 'differs' end
    end
    for _, name in ipairs(sorted_names(new)) do
      if new[name] ~= old[name] then
        refuse('BADFIELD', 'idem %s made %s with another %s: give the same fields, or another key', given.idem, ids, name)
      end
    end
  end
  return words_of(ids)
end

-- Pools without an open job make room for a new one.
local function check_pools(p, pool)
  local open, room = open_of(table_of(call('HGETALL', keys.cfg))), false
  local names = sorted_names(open)
  if #names < LIMITS.pools then return end
  for _, name in ipairs(names) do
    if open[name] <= 0 then
      put(p, 'HDEL', keys.cfg, names_of(name).count, names_of(name).idle)
      room = true
    end
  end
  if room then return end
  refuse('FULL', 'pool "%s" is new and %d pools have open jobs already: name one of them, mffa_stats shows them', shown(pool), LIMITS.pools)
end
-- The number of open jobs that the pool has when so many more have come. open, full, max_queued: as they stand in cfg.
local function check_room(p, pool, more, open, full, max_queued)
  if full then refuse('FULL', 'Redis is almost out of memory: wait until ended jobs are removed, or raise its maxmemory') end
  if not open then check_pools(p, pool) end
  open, max_queued = tonumber(open or 0), tonumber(max_queued or DEFAULTS.max_queued)
  if open + more <= max_queued then return open + more end
  refuse('FULL', 'pool "%s" has %d open jobs and may have %d: submit later, or raise MFFA_MAX_QUEUED', shown(pool), open, max_queued)
end

-- seq: of its id. The nils are room for what joins.
local function create(p, id, seq, part, waits, published)
  local j = { id = id, kind = part.kind, is_new = true, seq = seq, state = nil, dataset = nil, output = nil, pool = nil }
  local command = { 'HSET', key('job', id), 'kind', part.kind, 'created', now_text, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil }
  for name, value in pairs(part.fields) do
    j[name] = value
    if name ~= 'idem' and name ~= 'delay' then add(command, name, value) end
  end
  for name, value in pairs(published) do add(command, name, value) end
  if j.delay then
    j.due = integer_text(now + tonumber(j.delay) * 1000)
    add(command, 'due', j.due)
  end
  set_record(p, j, command)
  for i = 1, #waits do
    put(p, 'SADD', key('kids', waits[i]), id)
    put(p, 'SADD', key('wait', id), waits[i])
  end
  if #waits > 0 then block(p, j) else start(p, j) end
end

-- What a submission needs of cfg.
local function read_submission_cfg(names)
  return call('HMGET', keys.cfg, 'seq', 'epoch', 'process', 'full', 'max_queued', names.count, names.idle)
end

-- Everything about a submission, checked and planned; what is planned for is {plan, ids, parts}, or {ids} alone for a key used before.
-- cfg: what read_submission_cfg answered, where it was asked already.
local function prepare(kind, given, cfg)
  local known = given.idem and earlier(kind, given)
  if known then return { ids = known } end
  local parts, p, ids = expand(kind, given), plan(), {}
  local pool = pool_of(given)
  local names = names_of(pool)
  cfg = cfg or read_submission_cfg(names)
  local seq = tonumber(cfg[1] or 0)
  local first, published = parents_of(parts[1].fields)
  local open = check_room(p, pool, #parts, cfg[6], cfg[4], cfg[5])
  local epoch = epoch_now(p, cfg[2], cfg[3])
  set_cfg(p, names.count, integer_text(open))
  p.idle = { [pool] = tonumber(cfg[7] or 0) }
  local number
  for i = 1, #parts do
    local part = parts[i]
    number = integer_text(seq + i)
    ids[i] = epoch .. '-' .. number
    for name, place in pairs(part.references or NONE) do part.fields[name] = ids[place] end
    create(p, ids[i], seq + i, part, i == 1 and first or { ids[i - 1] }, i == 1 and published or NONE)
  end
  set_cfg(p, 'seq', number)
  if given.idem then put(p, 'SET', key('idem', given.idem), table.concat(ids, ' ') .. '|' .. mark_of(kind, given), 'PX', IDEM_TTL_MS) end
  return { plan = p, ids = ids, parts = parts }
end

-- Most jobs wait for nothing, in a pool whose workers are busy. Such a one is written as prepare and commit would write it, but without a
-- plan, which is a third of their time. nil: it is none of those, or not to be had, and goes the long way; what was read of cfg comes with
-- it.
local function plain_writes(act, id, kind, command, score, number, open, names)
  return act('HSET', keys.cfg, names.count, open, 'seq', number) and act(unpack(command)) and ready_writes(act, id, kind, nil, names, score)
end
local function submit_plain(kind, given)
  if kind == 'pipeline' or given.idem or given.delay or given.after or given.model and is_job_id(given.model)
    or given.backbone and is_job_id(given.backbone) then
    return nil
  end
  local names = names_of(pool_of(given))
  local cfg = read_submission_cfg(names)
  local open, seq, max_queued = cfg[6] and cfg[6] + 1, cfg[1] and cfg[1] + 1, tonumber(cfg[5] or DEFAULTS.max_queued)
  if not (open and seq) or cfg[3] ~= process or cfg[4] or open > max_queued or (cfg[7] or '0') ~= '0' then return nil, cfg end
  local number = integer_text(seq)
  local id = cfg[2] .. '-' .. number
  local command, n = { 'HSET', key('job', id), 'kind', kind, 'created', now_text, 'state', 'queued', nil, nil, nil, nil, nil, nil }, 8
  for name, value in pairs(given) do
    command[n + 1], command[n + 2] = name, value
    n = n + 2
  end
  local score = score_of(given.prio, seq)
  open = integer_text(open)
  if not plain_writes(may, id, kind, command, score, number, open, names) then return nil, cfg end
  plain_writes(call, id, kind, command, score, number, open, names)
  return { id }
end

-- submit <kind> <field> <value>...: the ids, one a job.
function verbs.submit(args)
  local kind = args[1] or ''
  local given = read_fields(kind, args, 2)
  local plain, cfg = submit_plain(kind, given)
  if plain then return plain end
  local made = prepare(kind, given, cfg)
  if made.plan then commit(made.plan) end
  return made.ids
end

-- The fields that a worker gets for a job, as names and values: a list that ends with `defaults_of` its kind, which begin at `first`, gets
-- what was chosen, and what has no default.
local function defaults_of(kind) return unpack(kinds[kind].defaults, 1, kinds[kind].room) end
local function tell_fields(list, first, kind, j)
  local others = kinds[kind].others
  for i = first, first + #kinds[kind].defaults - 1, 2 do
    local chosen = j[list[i]]
    if chosen then list[i + 1] = chosen end
  end
  for i = 1, #others do
    local chosen = j[others[i]]
    if chosen then add(list, others[i], chosen) end
  end
end

-- check <kind> <field> <value>...: what submit would make, one list of names and values a job; nothing is stored.
function verbs.check(args)
  local kind = args[1] or ''
  local made, answer = prepare(kind, read_fields(kind, args, 2)), {}
  for i, part in ipairs(made.parts or {}) do
    local list = { 'kind', part.kind, defaults_of(part.kind) }
    tell_fields(list, 3, part.kind, part.fields)
    for name in pairs(part.references or NONE) do
      for at = 1, #list, 2 do
        if list[at] == name then list[at + 1] = 'the job before' end
      end
    end
    add(list, 'after', part.fields.after)
    add(list, 'delay', part.fields.delay)
    answer[i] = list
  end
  if not made.parts then answer[1] = { 'made', table.concat(made.ids, ' ') } end
  return answer
end

-- help [kind]: lines for people.
function verbs.help(args)
  local lines = {}
  if not args[1] then
    lines[1] = 'FCALL mffa_submit 0 <kind> <field> <value> ...; FCALL_RO mffa_help 0 <kind> shows the fields of a kind'
    for _, kind in ipairs(KIND_NAMES) do
      lines[#lines + 1] = kind .. ': ' .. kinds[kind].help .. ' (needs ' .. table.concat(kinds[kind].needs, ' ') .. ')'
    end
    for _, name in ipairs(COMMON) do lines[#lines + 1] = describe(nil, name) end
    lines[#lines + 1] = 'people: submit check help status explain list stats cancel retry setprio pause resume drain'
    lines[#lines + 1] = 'workers: claim peek beat finish fail release'
    return lines
  end
  local known, needed = check_kind(args[1]), {}
  for _, name in ipairs(known.needs) do needed[name] = true end
  lines[1] = args[1] .. ': ' .. known.help
  for _, name in ipairs(known.own) do lines[#lines + 1] = describe(args[1], name, needed[name]) end
  for _, name in ipairs(COMMON) do lines[#lines + 1] = describe(args[1], name) end
  return lines
end

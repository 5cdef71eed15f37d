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
  if kind and parent.kind ~= kind then refuse('BADFIELD', '%s names %s, a %s job: give the id of a %s job', name, id, parent.kind or '?', kind) end
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
  local stored = redis.call('GET', key('idem', given.idem))
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
  if redis.call('HLEN', key('pools')) < POOLS_MAX then return end
  local counts, room = table_of(redis.call('HGETALL', key('pools'))), false
  for _, name in ipairs(sorted_names(counts)) do
    if tonumber(counts[name]) <= 0 then
      put(p, 'HDEL', key('pools'), name)
      room = true
    end
  end
  if room then return end
  refuse('FULL', 'pool "%s" is new and %d pools have open jobs already: name one of them, mffa_stats shows them', shown(pool), POOLS_MAX)
end
local function check_room(p, full, max_queued, pool, more)
  if full then refuse('FULL', 'Redis is almost out of memory: wait until ended jobs are removed, or raise its maxmemory') end
  local open = redis.call('HGET', key('pools'), pool)
  if not open then check_pools(p, pool) end
  open = tonumber(open or 0)
  if open + more > max_queued then
    refuse('FULL', 'pool "%s" has %d open jobs and may have %d: submit later, or raise MFFA_MAX_QUEUED', shown(pool), open, max_queued)
  end
end

local function create(p, id, part, waits, published)
  local j, command = { id = id, kind = part.kind }, { 'HSET', key('job', id), 'kind', part.kind, 'created', now_text }
  for name, value in pairs(part.fields) do
    j[name] = value
    if name ~= 'idem' and name ~= 'delay' then add(command, name, value) end
  end
  for name, value in pairs(published) do add(command, name, value) end
  if j.delay then
    j.due = integer_text(now + tonumber(j.delay) * 1000)
    add(command, 'due', j.due)
  end
  set_new(p, command)
  count_open(p, j, '1')
  for _, parent in ipairs(waits) do
    put(p, 'SADD', key('kids', parent), id)
    put(p, 'SADD', key('wait', id), parent)
  end
  if #waits > 0 then block(p, j) else start(p, j) end
end

-- Everything about a submission, checked and planned; what is planned for is {plan, ids, parts}, or {ids} alone for a key used before.
local function prepare(kind, given)
  local known = given.idem and earlier(kind, given)
  if known then return { ids = known } end
  local parts, p, ids = expand(kind, given), plan(), {}
  local pool = given.pool or fields.pool.default
  local seq, epoch, drawn_by, full, max_queued = read_cfg('seq', 'epoch', 'process', 'full', 'max_queued')
  local first, published = parents_of(parts[1].fields)
  check_room(p, full, max_queued, pool, #parts)
  epoch = take_ids(p, epoch, drawn_by, #parts)
  for i, part in ipairs(parts) do
    ids[i] = epoch .. '-' .. integer_text(tonumber(seq or 0) + i)
    for name, place in pairs(part.references or {}) do part.fields[name] = ids[place] end
    create(p, ids[i], part, i == 1 and first or { ids[i - 1] }, i == 1 and published or {})
  end
  if given.idem then put(p, 'SET', key('idem', given.idem), table.concat(ids, ' ') .. '|' .. mark_of(kind, given), 'PX', IDEM_TTL_MS) end
  return { plan = p, ids = ids, parts = parts }
end

-- submit <kind> <field> <value>...: the ids, one a job.
function verbs.submit(args)
  local made = prepare(args[1] or '', read_fields(args[1] or '', args, 2))
  if made.plan then commit(made.plan) end
  return made.ids
end

-- Puts the fields that a worker gets for a job behind what is in the list: the chosen ones, and the defaults of the others.
local function add_fields(list, kind, j)
  local names, defaults, n = kinds[kind].told, kinds[kind].defaults, #list
  for i = 1, #names do
    local value = j[names[i]] or defaults[i]
    if value then
      list[n + 1], list[n + 2] = names[i], value
      n = n + 2
    end
  end
end

-- check <kind> <field> <value>...: what submit would make, one list of names and values a job; nothing is stored.
function verbs.check(args)
  local kind = args[1] or ''
  local made, answer = prepare(kind, read_fields(kind, args, 2)), {}
  for i, part in ipairs(made.parts or {}) do
    local list = { 'kind', part.kind }
    add_fields(list, part.kind, part.fields)
    for name in pairs(part.references or {}) do
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
    for _, kind in ipairs(KIND_NAMES) do lines[#lines + 1] = kind .. ': ' .. kinds[kind].help .. ' (needs ' .. table.concat(kinds[kind].needs, ' ') .. ')' end
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

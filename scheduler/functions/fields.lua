-- Kinds and their fields: the one table that submit, check and help go by.

local GIVE_URL = 'give s3://bucket/prefix or file:///path'

local function is_url(text)
  return string.find(text, '^s3://[a-z0-9][a-z0-9.-]+/%C*$') or string.find(text, '^s3://[a-z0-9][a-z0-9.-]+$')
    or string.find(text, '^file:///%C+$')
end
local function is_job_id(text) return string.match(text, '^%l[%l%d]*%-%d+$') end
local function refuse_size(name, value, limit) refuse('TOOBIG', '%s has %d bytes: give at most %d', name, #value, limit) end

-- Types. give: which values fit, as the way out of an error and in the help; check: the value as it is stored, or a refusal.
local types = {}
local function give(f) return types[f.type].give(f) end
local function check_value(name, f, value)
  if #value > (f.bytes or LIMITS.url_bytes) then refuse_size(name, value, f.bytes or LIMITS.url_bytes) end
  local stored = types[f.type].check(value, f)
  if not stored then refuse('BADFIELD', '%s "%s" does not fit: %s', name, shown(value), give(f)) end
  return stored
end

types.url = {
  give = function() return GIVE_URL end,
  check = function(v) return is_url(v) and v end,
}
types.reference = {
  give = function(f) return GIVE_URL .. ', or the id of a ' .. f.of .. ' job' end,
  check = function(v) return (is_url(v) or is_job_id(v)) and v end,
}
types.integer = {
  give = function(f)
    local what = f.step and 'a multiple of ' .. f.step or 'an integer'
    return string.format('give %s from %s to %s', what, integer_text(f.min), integer_text(f.max))
  end,
  check = function(v, f)
    local n = #v <= 16 and string.match(v, '^%d+$') and tonumber(v)
    return n and n >= f.min and n <= f.max and n % (f.step or 1) == 0 and integer_text(n)
  end,
}
types.number = {
  give = function(f) return string.format('give a number from %g to %g', f.min, f.max) end,
  check = function(v, f)
    local n = #v <= 32 and string.match(v, '^[+-]?[%d.]+[eE]?[+-]?%d*$') and tonumber(v)
    return n and n >= f.min and n <= f.max and (n == tonumber(f.default) and f.default or v)
  end,
}
types.choice = {
  give = function(f) return 'give ' .. table.concat(f.words, ', ', 1, #f.words - 1) .. ' or ' .. f.words[#f.words] end,
  check = function(v, f)
    for _, word in ipairs(f.words) do
      if v == word then return v end
    end
  end,
}
types.name = {
  give = function(f) return string.format('give 1 to %d letters, digits or . _ : -', f.bytes) end,
  check = function(v) return string.match(v, '^[%w._:-]+$') end,
}
types.trace = { -- W3C traceparent, version 00
  give = function() return 'give a W3C traceparent, 00-<32 hex digits>-<16>-<2>' end,
  check = function(v)
    local trace, span = string.match(v, '^00%-(%x+)%-(%x+)%-%x%x$')
    if not trace or #trace ~= 32 or #span ~= 16 or string.find(v, '%u') then return nil end
    return string.find(trace, '[^0]') and string.find(span, '[^0]') and v
  end,
}
types.ids = {
  give = function() return string.format('give at most %d job ids with a comma or a space between', LIMITS.parents) end,
  check = function(v)
    local ids, seen = {}, {}
    for _, id in ipairs(words_of(v)) do
      if not is_job_id(id) then return nil end
      if not seen[id] then ids[#ids + 1] = id end
      seen[id] = true
    end
    return #ids > 0 and #ids <= LIMITS.parents and table.concat(ids, ' ')
  end,
}

local fields = { -- default nil: none, or what help says
  prio = { type = 'integer', min = 0, max = 9, default = '5', help = 'urgency, 9 first; equal ones run in order of submission' },
  after = { type = 'ids', bytes = 2048, help = 'jobs that must be done before this one starts' },
  idem = { type = 'name', bytes = 128, help = 'idempotency key: the same key within 24 hours answers the same ids' },
  delay = { type = 'integer', min = 0, max = 31536000, default = '0', help = 'seconds before it may start' },
  retries = { type = 'integer', min = 0, max = 100, default = '2', help = 'runs after a failure that may pass' },
  timeout = { type = 'integer', min = 0, max = 31536000, default = '0', help = 'seconds that one run may take; 0: any' },
  pool = { type = 'name', bytes = 64, default = 'default', help = 'workers of this pool only' },
  keep = { type = 'integer', min = 1, max = 31536000, help = 'seconds that the record stays after the end; else as the scheduler is set' },
  trace = { type = 'trace', bytes = 64, help = 'trace that the job belongs to; it stands in logs and manifest' },
  dataset = { type = 'url', help = 'folder of pictures' },
  output = { type = 'url', help = 'folder under which the results go' },
  weights = { type = 'url', help = "folder of the pretrained weights; else the worker's" },
  profile = { type = 'choice', words = { 'small', 'paper' }, default = 'small', help = 'networks and sizes' },
  seed = { type = 'integer', min = 0, max = 9007199254740991, default = '0', help = 'of every random choice' },
  epochs = { type = 'integer', min = 1, max = 10000, default = '64', help = 'passes over the normal pictures' },
  batch = { type = 'integer', min = 1, max = 1024, default = '32', help = 'normal pictures a step' },
  learning_rate = { type = 'number', min = 1e-8, max = 1, default = '3e-4', help = 'of SGD' },
  side = { type = 'integer', min = 64, max = 1024, step = 32, help = "pixels, input side; else the profile's" },
  grid = { type = 'integer', min = 1, max = 256, help = "side of the Gaussian grid; else the profile's" },
  blocks = { type = 'integer', min = 0, max = 11, help = "CaiT blocks, 0: none; else the profile's" },
  gaussian_channels = { type = 'integer', min = 1, max = 4096, help = "channels of the Gaussian; else the profile's" },
  ratio = { type = 'number', min = 1e-6, max = 1, help = "of patches kept in the memory bank; else the profile's" },
  lambda = { type = 'number', min = 1e-9, max = 1e6, help = "added to the covariance's diagonal; else the profile's" },
  sigma = { type = 'number', min = 0, max = 64, help = "pixels, blur of the map; 0: none; else the profile's" },
  keep_statistics = { type = 'choice', words = { 'no', 'yes' }, default = 'no', help = 'store what extending the model later needs' },
  on_bad_image = { type = 'choice', words = { 'fail', 'skip' }, default = 'fail', help = 'what a picture that cannot be read does' },
  backbone = { type = 'reference', of = 'finetune', help = 'fine-tuned backbone; else the pretrained one' },
  model = { type = 'reference', of = 'fit', help = 'what to score with' },
  maps = { type = 'choice', words = { 'product', 'nns', 'gaussian' }, default = 'product', help = 'which anomaly map' },
  save_maps = { type = 'choice', words = { 'no', 'yes' }, default = 'no', help = 'store the raw maps' },
  heatmaps = { type = 'choice', words = { 'yes', 'no', 'grey16', 'both' }, default = 'yes', help = 'overlays, plain grey maps, or both' },
  threshold = { type = 'number', min = -1e30, max = 1e30, help = 'scores above it are called defects' },
  psg = { type = 'choice', words = { 'on', 'off' }, default = 'on', help = 'fine-tune the backbone first' },
}

local COMMON = { 'prio', 'after', 'idem', 'delay', 'retries', 'timeout', 'pool', 'keep', 'trace' }
local KIND_NAMES = { 'finetune', 'fit', 'evaluate', 'score', 'verify', 'pipeline' }
local RUN_KINDS_TEXT = '' -- as a worker's record has them
for i = 1, #RUN_KINDS do RUN_KINDS_TEXT = RUN_KINDS_TEXT .. (i > 1 and ',' or '') .. RUN_KINDS[i] end
local kinds = { -- own fields in the order of the help; needs: must be given
  finetune = {
    own = { 'dataset', 'output', 'weights', 'profile', 'seed', 'epochs', 'batch', 'learning_rate', 'side', 'on_bad_image' },
    needs = { 'dataset', 'output' },
    help = 'train the backbone on pseudo-defects of the normal pictures',
  },
  fit = {
    own = { 'dataset', 'output', 'weights', 'profile', 'seed', 'backbone', 'side', 'grid', 'blocks', 'gaussian_channels', 'ratio', 'lambda',
      'sigma', 'keep_statistics', 'on_bad_image' },
    needs = { 'dataset', 'output' },
    help = 'learn a model from the normal pictures',
  },
  evaluate = {
    own = { 'dataset', 'model', 'output', 'weights', 'profile', 'maps', 'save_maps', 'heatmaps', 'on_bad_image' },
    needs = { 'dataset', 'model', 'output' },
    help = 'score labelled test pictures and measure AUROC',
  },
  score = {
    own = { 'dataset', 'model', 'output', 'weights', 'profile', 'maps', 'save_maps', 'heatmaps', 'threshold', 'on_bad_image' },
    needs = { 'dataset', 'model', 'output' },
    help = 'score pictures without labels',
  },
  verify = {
    own = { 'dataset', 'model', 'output', 'weights', 'on_bad_image' },
    needs = { 'dataset', 'model', 'output' },
    help = 'compute a model again and report the largest difference',
  },
  pipeline = {
    own = { 'dataset', 'output', 'psg', 'weights', 'profile', 'seed', 'epochs', 'batch', 'learning_rate', 'side', 'grid', 'blocks',
      'gaussian_channels', 'ratio', 'lambda', 'sigma', 'keep_statistics', 'maps', 'save_maps', 'heatmaps', 'on_bad_image' },
    needs = { 'dataset', 'output' },
    help = 'finetune (unless psg off), fit and evaluate, each after the other',
  },
}
-- knows: a set of names; default: name -> text. What a worker is told: fields that it always gets (defaults: name, value, name...; ''
-- where one must be given) and the others.
local NOT_FOR_WORKERS = { idem = true, delay = true, after = true }
local function know(kind, name, default, needed)
  kind.knows[name], kind.default[name] = true, default
  if NOT_FOR_WORKERS[name] then return end
  if default or needed then
    local n = #kind.defaults
    kind.defaults[n + 1], kind.defaults[n + 2] = name, default or ''
  else
    kind.others[#kind.others + 1] = name
  end
end
for i = 1, #KIND_NAMES do
  local kind, needed = kinds[KIND_NAMES[i]], {}
  -- evaluate and score go by their model's profile: one that is given is compared with it, none is assumed
  local by_model = KIND_NAMES[i] == 'evaluate' or KIND_NAMES[i] == 'score'
  kind.knows, kind.default, kind.defaults, kind.others = {}, {}, {}, {}
  for j = 1, #kind.needs do needed[kind.needs[j]] = true end
  for j = 1, #kind.own do
    local name = kind.own[j]
    know(kind, name, not (by_model and name == 'profile') and fields[name].default or nil, needed[name])
  end
  for j = 1, #COMMON do know(kind, COMMON[j], fields[COMMON[j]].default) end
  kind.room = #kind.defaults + 10 -- for what is told besides
end

-- Edit distance, for "did you mean".
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = string.byte(a, i) == string.byte(b, j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end
local function suggestion(word, names)
  local best, least = nil, 3
  for _, name in ipairs(names) do
    local d = #word <= 32 and distance(word, name) or least
    if d < least and d < #name then best, least = name, d end
  end
  return best and 'did you mean ' .. best .. '? ' or ''
end

local function check_kind(kind)
  if kinds[kind] then return kinds[kind] end
  refuse('BADKIND', '"%s" is not a kind: %skinds are %s', shown(kind), suggestion(kind, KIND_NAMES), table.concat(KIND_NAMES, ' '))
end
local function unknown_field(kind, name)
  local names = {}
  for _, list in ipairs({ kinds[kind].own, COMMON }) do
    for _, known in ipairs(list) do names[#names + 1] = known end
  end
  refuse('BADFIELD', '"%s" is not a field of %s: %sfields are %s', shown(name), kind, suggestion(name, names), table.concat(names, ' '))
end

-- The fields that a caller gave (args[first] and on: name, value...), each checked; those that equal their default are left out, so a
-- record holds only what was chosen and equal jobs have equal records.
local function read_fields(kind, args, first)
  local known = check_kind(kind)
  local chosen, needs, default = { dataset = nil, output = nil, model = nil, pool = nil }, known.needs, known.default -- room for them
  for i = first, #args, 2 do
    local name, value = args[i], args[i + 1]
    if not known.knows[name] then unknown_field(kind, name) end
    if value == nil then refuse('BADFIELD', '%s has no value: give fields as name value name value', name) end
    if chosen[name] then refuse('BADFIELD', '%s is given twice: give it once', name) end
    chosen[name] = check_value(name, fields[name], value)
  end
  for i = 1, #needs do
    if not chosen[needs[i]] then refuse('BADFIELD', '%s is missing: %s', needs[i], give(fields[needs[i]])) end
  end
  for name, value in pairs(chosen) do
    if value == default[name] then chosen[name] = nil end
  end
  return chosen
end

-- Options of the other verbs: name value pairs out of a table name -> field.
local function read_options(known, args, first)
  local chosen = {}
  for i = first, #args, 2 do
    local name, value = args[i], args[i + 1]
    if not known[name] then
      refuse('BADFIELD', '"%s" is not an option here: options are %s', shown(name), table.concat(sorted_names(known), ' '))
    end
    if value == nil then refuse('BADFIELD', '%s has no value: give options as name value name value', name) end
    chosen[name] = check_value(name, known[name], value)
  end
  return chosen
end

-- What help says of a field: its values, default and meaning.
local function describe(kind, name, needed)
  local f = fields[name]
  local default = kind and kinds[kind].default[name] or not kind and f.default
  default = needed and 'needed' or default and 'default ' .. default or 'not set'
  return string.format('%s: %s (%s; %s)', name, f.help, string.gsub(give(f), '^give ', ''), default)
end

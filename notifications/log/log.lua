-- The log, as the server sees it. Each operation is atomic.
--
-- KEYS  1 the stream, 2 its meta hash (epoch, last, size), 3… idempotency keys
-- ARGV  1 operation, 2 a fresh epoch, then what the operation takes
--
-- Every entry names its predecessor (`prev`), so that a reader sees a hole that XREAD jumps over,
-- and the bytes before it (`at`), so that trimming by size needs no counter that could drift.

local stream, meta = KEYS[1], KEYS[2]
local operation, fresh = ARGV[1], ARGV[2]
local epoch, last, size = unpack(redis.call('HMGET', meta, 'epoch', 'last', 'size'))
size = tonumber(size or 0)

local function add(kind, ...)
  local prev = last or '0-0'
  last = redis.call('XADD', stream, '*', 'kind', kind, 'prev', prev, 'at', size, ...)
end

-- An epoch begins with an entry of its own: whoever tails an earlier one reads that it ended.
local function begin_epoch()
  epoch, last = fresh, nil
  add('epoch', 'epoch', epoch)
  redis.call('HSET', meta, 'epoch', epoch, 'last', last, 'size', size)
end

local function parts(id)
  local ms, n = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(n)
end

local function is_after(a, b)
  local a_ms, a_n = parts(a)
  local b_ms, b_n = parts(b)
  return a_ms > b_ms or (a_ms == b_ms and a_n > b_n)
end

local function add_growing(...)
  local before = last
  add(...)
  if not is_after(last, before) then
    -- The stream was deleted and the clock went back: positions no longer grow.
    begin_epoch()
    add(...)
  end
end

local function is_too_far_back(entry, max_bytes)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'at' then return entry[1] ~= last and size - tonumber(fields[i + 1]) > max_bytes end
  end
end

local PAGE = 100

-- The server cuts by number and by age itself. Bytes are found by reading the oldest entries: one,
-- mostly. At most twice what was appended: a limit that was lowered is reached in steps.
local function trim(max_events, max_bytes, max_age, appended)
  redis.call('XTRIM', stream, 'MAXLEN', '=', max_events)
  redis.call('XTRIM', stream, 'MINID', '=', string.format('%.0f', math.max(0, parts(last) - max_age)))
  local from, count, seen = '-', 1, 0
  local floor, more
  repeat
    more = false
    for _, entry in ipairs(redis.call('XRANGE', stream, from, '+', 'COUNT', count)) do
      floor, seen, more = entry[1], seen + 1, is_too_far_back(entry, max_bytes)
      if not more then break end
    end
    from, count = '(' .. floor, PAGE
  until not more or seen > appended * 2
  if seen > 1 then redis.call('XTRIM', stream, 'MINID', '=', floor) end
end

if not epoch then begin_epoch() end

if operation == 'state' then
  return {epoch, last}
end

-- end <epoch>: that epoch is over, whoever says so first.
if operation == 'end' then
  if epoch == ARGV[3] then begin_epoch() end
  return {epoch, last}
end

-- control <max events> <max bytes> <max age, ms> <body>
if operation == 'control' then
  add_growing('control', 'body', ARGV[6])
  redis.call('HSET', meta, 'last', last, 'size', size)
  trim(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), 1)
  return {epoch, last}
end

-- append <max events> <max bytes> <max age, ms> <key age, s>, then for each event
-- <index of its key in KEYS, or 0> <fingerprint, 32 bytes> <topics> <id> <type> <data> <form> <retry>
local FIELDS, FIRST = 8, 7
local FINGERPRINT = 32
local count = (#ARGV - FIRST + 1) / FIELDS

local fingerprints = {}
if #KEYS > 2 then
  for i = 1, count do
    local base = FIRST + (i - 1) * FIELDS
    local key, fingerprint = tonumber(ARGV[base]), ARGV[base + 1]
    if key > 0 then
      local held = fingerprints[key] or redis.call('GET', KEYS[key])
      if held and string.sub(held, 1, FINGERPRINT) ~= fingerprint then return {'conflict', i - 1} end
      fingerprints[key] = fingerprint
    end
  end
end

-- For each event its position; what was kept before also says under which epoch and id.
local receipts, appended = {}, 0
for i = 1, count do
  local base = FIRST + (i - 1) * FIELDS
  local key, fingerprint, topics, id, type, data, form, retry = unpack(ARGV, base, base + FIELDS - 1)
  key = key ~= '0' and tonumber(key)
  local held = key and redis.call('GET', KEYS[key])
  if held then
    local kept_epoch, kept_position, kept_id = string.match(held, ' (%S+) (%S+) (.*)$')
    receipts[i] = {kept_epoch, kept_position, kept_id}
  else
    -- After the first, the server sees to it that positions grow.
    local put = appended == 0 and add_growing or add
    put('event', 'topics', topics, 'id', id, 'type', type, 'data', data, 'form', form, 'retry', retry)
    size = size + #topics + #id + #data
    appended = appended + 1
    if key then
      redis.call('SET', KEYS[key], fingerprint .. ' ' .. epoch .. ' ' .. last .. ' ' .. id, 'EX', ARGV[6])
    end
    receipts[i] = last
  end
end
if appended > 0 then
  redis.call('HSET', meta, 'last', last, 'size', size)
  trim(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), appended)
end
return {'kept', epoch, receipts}

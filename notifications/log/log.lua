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

local function trim(max_events, max_bytes, max_age, appended)
  local surplus = redis.call('XLEN', stream) - max_events
  local oldest_ms = parts(last) - max_age
  local cut
  -- More than were appended: a limit that was lowered is reached in steps.
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', appended * 2 + 1)) do
    local at
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'at' then at = tonumber(entry[2][i + 1]) end
    end
    local too_many = surplus > 0
    local too_big = at and size - at > max_bytes
    local too_old = parts(entry[1]) < oldest_ms
    if entry[1] == last or not (too_many or too_big or too_old) then break end
    cut, surplus = entry[1], surplus - 1
  end
  if cut then
    local ms, n = string.match(cut, '^(%d+)-(%d+)$')
    redis.call('XTRIM', stream, 'MINID', '=', ms .. '-' .. string.format('%.0f', n + 1))
  end
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
for i = 1, count do
  local base = FIRST + (i - 1) * FIELDS
  local key, fingerprint = tonumber(ARGV[base]), ARGV[base + 1]
  if key > 0 then
    local held = fingerprints[key] or redis.call('GET', KEYS[key])
    if held and string.sub(held, 1, FINGERPRINT) ~= fingerprint then return {'conflict', i - 1} end
    fingerprints[key] = fingerprint
  end
end

local receipts, appended = {}, 0
for i = 1, count do
  local base = FIRST + (i - 1) * FIELDS
  local key, fingerprint, topics, id, type, data, form, retry = unpack(ARGV, base, base + FIELDS - 1)
  key = tonumber(key)
  local held = key > 0 and redis.call('GET', KEYS[key])
  if held then
    local kept_epoch, kept_position, kept_id = string.match(held, ' (%S+) (%S+) (.*)$')
    receipts[i] = {kept_epoch, kept_position, kept_id, 1}
  else
    add_growing(
      'event', 'topics', topics, 'id', id, 'type', type, 'data', data, 'form', form, 'retry', retry
    )
    size = size + #topics + #id + #data
    appended = appended + 1
    if key > 0 then
      redis.call('SET', KEYS[key], fingerprint .. ' ' .. epoch .. ' ' .. last .. ' ' .. id, 'EX', ARGV[6])
    end
    receipts[i] = {epoch, last, id, 0}
  end
end
if appended > 0 then
  redis.call('HSET', meta, 'last', last, 'size', size)
  trim(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), appended)
end
return {'kept', receipts}

-- The log, as the server sees it. Each operation is atomic.
--
-- KEYS  1 the stream, 2 its meta hash (epoch, last, size), then what the operation takes
-- ARGV  1 operation, 2 a fresh epoch, then what the operation takes
--
-- Every entry names its predecessor (`prev`), so that a reader sees a hole that XREAD jumps over,
-- and the bytes before it (`at`), so that trimming by size needs no counter that could drift.

local stream, meta = KEYS[1], KEYS[2]
local operation, fresh = ARGV[1], ARGV[2]
local epoch, last, size = unpack(redis.call('HMGET', meta, 'epoch', 'last', 'size'))
size = tonumber(size or 0)

-- canary <token>, with a key of its own. It sees whether the log could be written, and writes none.
if operation == 'canary' then
  redis.call('XLEN', stream)
  redis.call('SET', KEYS[3], ARGV[3], 'EX', 60)
  return redis.call('GET', KEYS[3])
end

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

local function field(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

local function is_too_far_back(entry, max_bytes)
  local at = field(entry, 'at')
  return at and entry[1] ~= last and size - tonumber(at) > max_bytes
end

-- Whether an entry that was acknowledged is gone, though it was not trimmed.
local function is_lost(id)
  if is_after(id, last) then return true end
  if #redis.call('XRANGE', stream, id, id) > 0 then return false end
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest then return false end
  local prev = field(oldest, 'prev')
  return is_after(id, oldest[1]) or (prev and is_after(id, prev)) or false
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

-- state [<epoch> <id>]: if that epoch has lost this entry, it is over.
if operation == 'state' then
  -- Writes nothing, but a replica refuses it: one that was the master before would answer for ever.
  local said = redis.pcall('PERSIST', meta)
  if type(said) == 'table' and said.err and string.find(said.err, 'READONLY') then return said end
  if ARGV[3] == epoch and is_lost(ARGV[4]) then begin_epoch() end
  return {epoch, last}
end

-- end <epoch>: that epoch is over, whoever says so first.
if operation == 'end' then
  if epoch == ARGV[3] then begin_epoch() end
  return {epoch, last}
end

-- release <age, s>: these keys need not be remembered for longer.
if operation == 'release' then
  for i = 3, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[3], 'LT') end
  return {epoch, last}
end

-- control <max events> <max bytes> <max age, ms> <body>
if operation == 'control' then
  add_growing('control', 'body', ARGV[6])
  redis.call('HSET', meta, 'last', last, 'size', size)
  trim(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), 1)
  return {epoch, last}
end

-- append <max events> <max bytes> <max age, ms> <key age, s> <after> <touch>, then for each event
-- <index of its key in KEYS, or 0> <fingerprint, 32 bytes> <mark> <topics> <id> <type> <data> <form>
-- <retry> <subjects to be passed over, if any>. KEYS[3] is named for the call. A publisher's own id
-- may come again: such an event has a mark that does not, and for others the id is the mark.
--
-- `after` is empty when the call is made, and `<epoch> <position>`, of before it, when it is repeated
-- because its outcome is unknown. The repetition finds what the call left; if that is nothing, it
-- says by KEYS[3] that it stands for the call now, which may still be on its way.
local FIELDS, FIRST = 10, 9
local FINGERPRINT = 32
local PATIENCE = 10000
local count = (#ARGV - FIRST + 1) / FIELDS
local key_age, after, touch = ARGV[6], ARGV[7], ARGV[8]
local replaced = redis.call('EXISTS', KEYS[3]) == 1

local function wanted()
  local numbers = {}
  for i = 1, count do
    local base = FIRST + (i - 1) * FIELDS
    local mark, id = ARGV[base + 2], ARGV[base + 4]
    numbers[mark ~= '' and mark or id] = i
  end
  return numbers
end

-- Positions by the number of the event, how many, and whether all was seen that could have been.
local function find()
  local numbers, found, hits, seen = wanted(), {}, 0, 0
  local known_epoch, known = string.match(after, '^(%S+) (%S+)$')
  local from, till = known_epoch == epoch and '(' .. known or '-', '+'
  while hits < count and seen < PATIENCE do
    local page = redis.call('XREVRANGE', stream, till, from, 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      local number = numbers[field(entry, 'mark') or field(entry, 'id') or '']
      if number and not found[number] then found[number], hits = entry[1], hits + 1 end
      till = '(' .. entry[1]
    end
    seen = seen + #page
    if #page < PAGE then return found, hits, true end
  end
  return found, hits, hits == count
end

if replaced and after == '' then return {'unknown'} end
local found, hits, all = {}, 0, true
if after ~= '' then found, hits, all = find() end
if hits == 0 and (replaced or not all) then return {'unknown'} end

local fingerprints = {}
if #KEYS > 3 and hits == 0 then
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
  local key, fingerprint, mark, topics, id, type, data, form, retry, skip =
    unpack(ARGV, base, base + FIELDS - 1)
  key = key ~= '0' and tonumber(key)
  local held = not found[i] and key and redis.call('GET', KEYS[key])
  if found[i] then
    receipts[i] = found[i]
  elseif held then
    local kept_epoch, kept_position, kept_id = string.match(held, ' (%S+) (%S+) (.*)$')
    receipts[i] = {kept_epoch, kept_position, kept_id}
  elseif hits > 0 then
    return {'unknown'} -- some of it was trimmed since
  else
    -- After the first, the server sees to it that positions grow.
    local put = appended == 0 and add_growing or add
    local event = {'event', 'topics', topics, 'id', id, 'type', type, 'data', data, 'form', form, 'retry', retry}
    local function also(name, value)
      if value ~= '' then event[#event + 1], event[#event + 2] = name, value end
    end
    also('mark', mark)
    also('skip', skip)
    put(unpack(event))
    size = size + #topics + #id + #data
    appended = appended + 1
    if key then
      redis.call('SET', KEYS[key], fingerprint .. ' ' .. epoch .. ' ' .. last .. ' ' .. id, 'EX', key_age)
    end
    receipts[i] = last
  end
end
if appended > 0 then
  if after ~= '' then redis.call('SET', KEYS[3], '', 'EX', key_age) end
  redis.call('HSET', meta, 'last', last, 'size', size)
  trim(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), appended)
elseif touch ~= '' then
  -- WAIT waits for what this connection wrote last.
  redis.call('HSET', meta, 'last', last)
end
return {'kept', epoch, receipts}

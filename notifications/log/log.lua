-- The log, as the server sees it. Each operation is atomic.
--
-- KEYS: 1 the stream, 2 its meta hash (epoch, last, size), then the keys of the operation.
-- ARGV: the operation, a fresh epoch, then the arguments of the operation. `layout.py` declares the
-- arguments and the fields of an entry, and puts their names (OPERATION, APPEND_AFTER, DRAFT_ID,
-- FIELD_ID, ...) in front of this file.
--
-- Every entry names its predecessor (`prev`), so that a reader sees a hole that XREAD jumps over;
-- the bytes before it (`at`) and the number of events before it, so that trimming needs no counter
-- that could drift and a control entry is never counted as an event; and the last event before it,
-- so that a reader knows a hole in which only control entries were. `events` has both.

local stream, meta = KEYS[1], KEYS[2]
local operation, fresh = ARGV[OPERATION], ARGV[FRESH_EPOCH]
local epoch, last, size, events, last_event, counted = unpack(
  redis.call('HMGET', meta, 'epoch', 'last', 'size', 'events', 'event', 'counted')
)
size, events = tonumber(size or 0), tonumber(events or 0)
-- A process of an earlier version appended `last`, and did not say whether that is an event.
if counted ~= last then last_event = last end

-- canary: tests, with a key of its own, whether the log could be written. The log stays as it is.
if operation == 'canary' then
  redis.call('XLEN', stream)
  redis.call('SET', KEYS[3], ARGV[CANARY_TOKEN], 'EX', 60)
  return redis.call('GET', KEYS[3])
end

local function add(kind, ...)
  local prev = last or '0-0'
  local before = string.format('%.0f', events) .. ' ' .. (last_event or '0-0')
  last = redis.call(
    'XADD', stream, '*', FIELD_KIND, kind, FIELD_PREV, prev, FIELD_AT, size, FIELD_EVENTS, before,
    ...
  )
end

local function save_state()
  redis.call(
    'HSET', meta, 'last', last, 'size', size, 'events', events, 'event', last_event, 'counted', last
  )
end

-- An epoch begins with an entry of its own: a tail of an earlier epoch reads there that it ended.
local function begin_epoch()
  epoch, last, last_event = fresh, nil, nil
  add('epoch', FIELD_EPOCH, epoch)
  last_event = last
  redis.call('HSET', meta, 'epoch', epoch)
  save_state()
end

local function split(position)
  local ms, n = string.match(position, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(n)
end

local function is_after(a, b)
  local a_ms, a_n = split(a)
  local b_ms, b_n = split(b)
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

local function is_too_far_back(entry, max_events, max_bytes)
  if entry[1] == last then return false end
  local at = field(entry, FIELD_AT)
  if at and size - tonumber(at) > max_bytes then return true end
  local before = string.match(field(entry, FIELD_EVENTS) or '', '^%d+')
  return before and events - tonumber(before) > max_events
end

-- Whether an acknowledged entry is gone although it was not trimmed.
local function is_lost(position)
  if is_after(position, last) then return true end
  if #redis.call('XRANGE', stream, position, position) > 0 then return false end
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest then return false end
  local prev = field(oldest, FIELD_PREV)
  return is_after(position, oldest[1]) or (prev and is_after(position, prev)) or false
end

local PAGE = 100

-- Redis itself cuts by age, and by a number of entries that is enough for all events and all control
-- entries. To cut by the number of events and by bytes, this reads the oldest entries: mostly one. It
-- stops at the first page after twice as many as were appended, so a lowered limit is reached in steps.
local function trim(max_events, max_controls, max_bytes, max_age_ms, appended)
  redis.call('XTRIM', stream, 'MAXLEN', '=', max_events + max_controls)
  local oldest_ms = math.max(0, split(last) - max_age_ms)
  redis.call('XTRIM', stream, 'MINID', '=', string.format('%.0f', oldest_ms))
  local from, count, seen = '-', 1, 0
  local floor, more
  repeat
    more = false
    for _, entry in ipairs(redis.call('XRANGE', stream, from, '+', 'COUNT', count)) do
      floor, seen, more = entry[1], seen + 1, is_too_far_back(entry, max_events, max_bytes)
      if not more then break end
    end
    from, count = '(' .. floor, PAGE
  until not more or seen > appended * 2
  if seen > 1 then redis.call('XTRIM', stream, 'MINID', '=', floor) end
end

if not epoch then begin_epoch() end

-- state: returns the epoch and the head. An epoch that has lost the given entry ends first.
if operation == 'state' then
  -- PERSIST changes nothing, but a replica refuses it: a former master would answer for ever.
  local reply = redis.pcall('PERSIST', meta)
  local refusal = type(reply) == 'table' and reply.err
  if refusal and string.find(refusal, 'READONLY') then return reply end
  if ARGV[STATE_EPOCH] == epoch and is_lost(ARGV[STATE_POSITION]) then begin_epoch() end
  return {epoch, last}
end

-- end: ends the given epoch, unless another process has ended it already.
if operation == 'end' then
  if epoch == ARGV[END_EPOCH] then begin_epoch() end
  return {epoch, last}
end

-- release: forgets the idempotency keys KEYS[3...] after the given age at most.
if operation == 'release' then
  for i = 3, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[RELEASE_AGE_SECONDS], 'LT') end
  return {epoch, last}
end

-- control: appends a control entry. KEYS[3] lists the positions of control entries. Of too many the
-- oldest are deleted, wherever they are, because to trim the log would take events with them.
if operation == 'control' then
  add_growing('control', FIELD_BODY, ARGV[CONTROL_BODY])
  save_state()
  local max_controls = tonumber(ARGV[CONTROL_MAX_CONTROLS])
  local surplus = redis.call('RPUSH', KEYS[3], last) - math.max(1, max_controls)
  for _ = 1, math.min(surplus, PAGE) do
    local oldest = redis.call('LPOP', KEYS[3])
    local entry = redis.call('XRANGE', stream, oldest, oldest)[1]
    if entry and field(entry, FIELD_KIND) == 'control' then redis.call('XDEL', stream, oldest) end
  end
  trim(
    tonumber(ARGV[CONTROL_MAX_EVENTS]), max_controls, tonumber(ARGV[CONTROL_MAX_BYTES]),
    tonumber(ARGV[CONTROL_MAX_AGE_MS]), 1
  )
  return {epoch, last}
end

-- append: appends events. KEYS[3] is named for the call, and KEYS[4...] are idempotency keys. Of an
-- event, `key` is the index of its key in KEYS, or 0; `fingerprint` has 32 bytes; `mark` identifies
-- the event where a publisher chose the id, because such an id may come again. Elsewhere the mark
-- is empty and the id identifies the event.
--
-- `after` is empty in the first attempt. A repetition is sent when the outcome of an attempt is
-- unknown; there, `after` is `<epoch> <position>` from before the first attempt. The repetition
-- finds what an earlier attempt appended. If that is nothing, it sets KEYS[3], so that an attempt
-- that is still on its way appends nothing when it arrives.
local FINGERPRINT = 32
local MAX_SEARCHED = 10000
local count = (#ARGV - DRAFTS_START + 1) / DRAFT_COUNT
local key_age, after, touch = ARGV[APPEND_KEY_AGE_SECONDS], ARGV[APPEND_AFTER], ARGV[APPEND_TOUCH]
local repeated = redis.call('EXISTS', KEYS[3]) == 1

local function numbers_by_mark()
  local numbers = {}
  for i = 1, count do
    local base = DRAFTS_START + (i - 1) * DRAFT_COUNT
    local mark, id = ARGV[base + DRAFT_MARK], ARGV[base + DRAFT_ID]
    numbers[mark ~= '' and mark or id] = i
  end
  return numbers
end

-- Returns the positions by the number of the event, how many there are, and whether the search
-- covered every entry that the call can have appended.
local function find()
  local numbers, found, hits, seen = numbers_by_mark(), {}, 0, 0
  local known_epoch, known = string.match(after, '^(%S+) (%S+)$')
  local from, till = known_epoch == epoch and '(' .. known or '-', '+'
  while hits < count and seen < MAX_SEARCHED do
    local page = redis.call('XREVRANGE', stream, till, from, 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      local number = numbers[field(entry, FIELD_MARK) or field(entry, FIELD_ID) or '']
      if number and not found[number] then found[number], hits = entry[1], hits + 1 end
      till = '(' .. entry[1]
    end
    seen = seen + #page
    if #page < PAGE then return found, hits, true end
  end
  return found, hits, hits == count
end

local function add_optional(event, name, value)
  if value ~= '' then event[#event + 1], event[#event + 2] = name, value end
end

if repeated and after == '' then return {'unknown'} end
local found, hits, complete = {}, 0, true
if after ~= '' then found, hits, complete = find() end
if hits == 0 and (repeated or not complete) then return {'unknown'} end

local fingerprints = {}
if #KEYS > 3 and hits == 0 then
  for i = 1, count do
    local base = DRAFTS_START + (i - 1) * DRAFT_COUNT
    local key, fingerprint = tonumber(ARGV[base + DRAFT_KEY]), ARGV[base + DRAFT_FINGERPRINT]
    if key > 0 then
      local held = fingerprints[key] or redis.call('GET', KEYS[key])
      if held and string.sub(held, 1, FINGERPRINT) ~= fingerprint then
        return {'conflict', i - 1}
      end
      fingerprints[key] = fingerprint
    end
  end
end

-- The reply has a position for each event; for an event that was kept before this call, it has the
-- epoch, the position and the id under which that event was kept.
local receipts, appended = {}, 0
for i = 1, count do
  local base = DRAFTS_START + (i - 1) * DRAFT_COUNT
  local key = ARGV[base + DRAFT_KEY]
  key = key ~= '0' and tonumber(key)
  local held = not found[i] and key and redis.call('GET', KEYS[key])
  if found[i] then
    receipts[i] = found[i]
  elseif held then
    local kept_epoch, kept_position, kept_id = string.match(held, ' (%S+) (%S+) (.*)$')
    receipts[i] = {kept_epoch, kept_position, kept_id}
  elseif hits > 0 then
    return {'unknown'} -- Some of the call's events were trimmed since.
  else
    -- After the first event of a call, Redis itself makes sure that positions grow.
    local put = appended == 0 and add_growing or add
    local topics, id = ARGV[base + DRAFT_TOPICS], ARGV[base + DRAFT_ID]
    local data = ARGV[base + DRAFT_DATA]
    local event = {
      'event', FIELD_TOPICS, topics, FIELD_ID, id, FIELD_TYPE, ARGV[base + DRAFT_TYPE],
      FIELD_DATA, data, FIELD_FORM, ARGV[base + DRAFT_FORM], FIELD_RETRY, ARGV[base + DRAFT_RETRY],
    }
    add_optional(event, FIELD_MARK, ARGV[base + DRAFT_MARK])
    add_optional(event, FIELD_SKIP, ARGV[base + DRAFT_SKIP])
    put(unpack(event))
    size, events, last_event = size + #topics + #id + #data, events + 1, last
    appended = appended + 1
    if key then
      local kept = ARGV[base + DRAFT_FINGERPRINT] .. ' ' .. epoch .. ' ' .. last .. ' ' .. id
      redis.call('SET', KEYS[key], kept, 'EX', key_age)
    end
    receipts[i] = last
  end
end
if appended > 0 then
  if after ~= '' then redis.call('SET', KEYS[3], '', 'EX', key_age) end
  save_state()
  trim(
    tonumber(ARGV[APPEND_MAX_EVENTS]), tonumber(ARGV[APPEND_MAX_CONTROLS]),
    tonumber(ARGV[APPEND_MAX_BYTES]), tonumber(ARGV[APPEND_MAX_AGE_MS]), appended
  )
elseif touch ~= '' then
  -- WAIT waits for the last write of this connection, so there has to be one.
  redis.call('HSET', meta, 'last', last)
end
return {'kept', epoch, receipts}

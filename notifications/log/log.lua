-- The log, as the server sees it. Nothing else happens during an operation.
--
-- Redis undoes nothing if an operation fails midway. So an operation first asks for everything that
-- it will write. A failure before the first event is in the log says so (NOTHING_KEPT), and after that
-- the outcome is unknown.
--
-- KEYS: 1 the stream, 2 its meta hash (epoch, last, size), then the keys of the operation.
-- ARGV: the operation, a fresh epoch, then the arguments of the operation. `layout.py` declares the
-- arguments, and replaces their names (OPERATION, SECTION_AFTER, DRAFT_ID, ...) by their values: a local
-- variable that functions use costs more than it seems.
--
-- An entry has one field, because each name and each value of a field costs every reader: its name is
-- the header, and its value the content. The lines of a header are the topics of an event, or one empty
-- line in an entry of any other kind, and the link. That has the predecessor, so that a reader sees a
-- hole that XREAD jumps over; the kind; the bytes and the events before, so that trimming needs no
-- counter that could drift and a control entry is never counted as an event; and the last event before,
-- so that a reader knows a hole in which only control entries were.

local stream, meta = KEYS[1], KEYS[2]
local operation, fresh = ARGV[OPERATION], ARGV[FRESH_EPOCH]
local epoch, last, size, events, last_event, oldest

local function load_state()
  epoch, last, size, events, last_event, oldest = unpack(
    redis.call('HMGET', meta, 'epoch', 'last', 'size', 'events', 'event', 'oldest')
  )
  size, events = tonumber(size or 0), tonumber(events or 0)
end

-- `added` counts the events and control entries of this call.
local operations, added = {}, 0

local function add(kind, topics, content)
  local prev = last or '0-0'
  local header = topics .. '\n' .. prev .. ' ' .. kind
    .. string.format(' %.0f %.0f ', size, events) .. (last_event or '0-0')
  last = redis.call('XADD', stream, '*', header, content)
  if kind ~= 'epoch' then added = added + 1 end
end

-- The predecessor, the kind, the bytes and the events before; nothing for an entry that others wrote.
local function link_of(entry)
  return string.match(entry[2][1], '\n(%d+%-%d+) (%l+) (%d+) (%d+) %d+%-%d+$')
end

local function save_state()
  redis.call('HSET', meta, 'last', last, 'size', size, 'events', events, 'event', last_event)
end

-- An epoch begins with an entry of its own: a tail of an earlier epoch reads there that it ended.
local function begin_epoch()
  epoch, last, last_event = fresh, nil, nil
  add('epoch', '', epoch)
  last_event = last
  redis.call('HSET', meta, 'epoch', epoch)
  save_state()
end

local may = redis.acl_check_cmd -- since Redis 7

-- The text of what was raised: Redis before 7 raises a text, which begins with a line number.
local function fault_of(raised)
  local fault = type(raised) == 'table' and raised.err or tostring(raised)
  fault = string.match(fault, '^@?user_script: ?%d+: (.*)$') or fault
  return string.match(fault, '^%-?(.-)%s*$')
end

-- Raises if this user may not run a command, given with an example of its arguments.
local function require_permission(command, ...)
  if may and not may(command, ...) then
    error({err = 'NOPERM This user has no permission to run ' .. command})
  end
end

-- Raises what would otherwise be raised after the first write: a command that this user may not run.
local function ask_permissions()
  require_permission('HSET', meta, 'last', '')
  require_permission('XTRIM', stream, 'MINID', '0-0')
  require_permission('XRANGE', stream, '-', '+')
end

-- The same for an operation whose first write is not XADD: also a key of another type, a full memory.
local function ask()
  ask_permissions()
  -- Changes nothing, but is refused as every write is that takes memory. It must be the first
  -- write: Redis refuses no later one.
  if epoch then redis.call('HSETNX', meta, 'epoch', epoch) end
  redis.call('XLEN', stream)
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

local PAGE = 100

local function is_too_far_back(at, before, max_events, max_bytes)
  return at and size - at > max_bytes or before and events - before > max_events
end

-- Whether `oldest` shows that there is nothing to trim. The log may exceed its limits by a thousandth,
-- so that a full log is not trimmed at each call.
local function is_within(max_events, max_bytes, oldest_ms)
  local ms, at, before = string.match(oldest or '', '^(%d+) (%d+) (%d+)$')
  return ms and tonumber(ms) >= oldest_ms
    and not is_too_far_back(at, before, max_events * 1.001, max_bytes * 1.001)
end

-- Redis itself cuts by age, and by a number of entries that is enough for all events and all control
-- entries. To cut by the number of events and by bytes, this reads the oldest entries. It stops after
-- twice as many as were appended, or a page, so a lowered limit is reached in steps.
local function trim(max_events, max_controls, max_bytes, max_age_ms, appended)
  local oldest_ms = math.max(0, split(last) - max_age_ms)
  if is_within(max_events, max_bytes, oldest_ms * 0.999) then return end
  redis.call('XTRIM', stream, 'MAXLEN', '=', max_events + max_controls)
  redis.call('XTRIM', stream, 'MINID', '=', string.format('%.0f', oldest_ms))
  local from, count, seen = '-', 1, 0
  local floor, at, before, more
  repeat
    more = false
    for _, entry in ipairs(redis.call('XRANGE', stream, from, '+', 'COUNT', count)) do
      floor, seen = entry[1], seen + 1
      local _, _, bytes_before, events_before = link_of(entry)
      at, before = bytes_before, events_before
      more = floor ~= last and is_too_far_back(at, before, max_events, max_bytes)
      if not more then break end
    end
    from, count = '(' .. floor, math.min(2 * count, PAGE)
  until not more or seen > math.max(2 * appended, PAGE)
  if seen > 1 then redis.call('XTRIM', stream, 'MINID', '=', floor) end
  if at and before then
    redis.call('HSET', meta, 'oldest', string.match(floor, '^%d+') .. ' ' .. at .. ' ' .. before)
  end
end

-- Begins the first epoch, if need be, and then also refuses an old server, which has no
-- `acl_check_cmd`: Redis before 6.2 takes no MINID, but only notices that if there is a stream.
local function begin_first_epoch()
  if not epoch then begin_epoch() end
  if may then return end
  local reply = redis.pcall('XTRIM', stream, 'MINID', '=', '0-0')
  if type(reply) == 'table' and reply.err then
    error({err = string.find(reply.err, 'syntax') and TOO_OLD or reply.err})
  end
end

-- Control entries, and streams that were interrupted: what is remembered of an ended stream is answered
-- only if no control entry has named one of its subjects since.
--
-- A sorted set has each subject with the position of its last control entry. Two of its members are no
-- subjects: NEWEST has the position of the last control entry of all, and FLOOR a position up to which
-- the set may lack control entries. If NEWEST is not the newest in the list of control entries, then
-- the set has lost it (eviction), or a process of an earlier version wrote that entry, or Redis refused
-- a command in between: all up to that entry is unknown then.
local FLOOR, NEWEST = ' floor', ' newest'
local MAX_REVOKED = 100000
local NAMES_AT_ONCE = 1000
local PARTS = 1024

-- A position as a score. The part of a millisecond is 0 to 1023, which a double keeps exactly until the
-- year 2248: what is beyond that is rounded, up for control entries and down for streams.
local function score(position, up)
  local ms, n = split(position)
  if n >= PARTS then n = up and PARTS or PARTS - 1 end
  return ms + n / PARTS
end

local function as_text(number) return string.format('%.17g', number) end

local function known_score(key, member)
  return tonumber(redis.call('ZSCORE', key, member) or 0)
end

-- The position up to which nothing is known. `newest`: the last in the list of control entries.
local function unknown_until(key, newest)
  local floor, last_written = known_score(key, FLOOR), newest and score(newest, true) or 0
  if last_written == known_score(key, NEWEST) then return floor end
  return math.max(floor, last_written)
end

-- Forgets subjects that no remembered stream can be older than, and the oldest of too many. Returns the
-- last position that is forgotten.
local function forget_revoked(key, until_score)
  local surplus = redis.call('ZCARD', key) - MAX_REVOKED
  if surplus > 0 then
    local oldest_kept = redis.call('ZRANGE', key, surplus - 1, surplus - 1, 'WITHSCORES')[2]
    until_score = math.max(until_score, tonumber(oldest_kept))
  end
  until_score = as_text(until_score)
  local gone = redis.call(
    'ZREVRANGEBYSCORE', key, until_score, '-inf', 'WITHSCORES', 'LIMIT', 0, 1
  )[2]
  if gone then redis.call('ZREMRANGEBYSCORE', key, '-inf', until_score) end
  return tonumber(gone or 0)
end

-- NEWEST is written last, so a failure in between makes the set incomplete, and fails nothing else.
local function revoke(newest)
  local key, at = KEYS[5], score(last, true)
  local floor = unknown_until(key, newest)
  floor = math.max(floor, forget_revoked(key, at - tonumber(ARGV[CONTROL_REVOKED_MS])))
  if floor > 0 then redis.call('ZADD', key, as_text(floor), FLOOR) end
  local first = CONTROL_BODY + 1
  for from = first, #ARGV, NAMES_AT_ONCE do
    local pairs_of_call = {}
    for i = from, math.min(from + NAMES_AT_ONCE - 1, #ARGV) do
      pairs_of_call[#pairs_of_call + 1] = as_text(at)
      pairs_of_call[#pairs_of_call + 1] = ARGV[i]
    end
    redis.call('ZADD', key, unpack(pairs_of_call))
  end
  redis.call('ZADD', key, as_text(at), NEWEST)
end

-- control: appends a control entry. KEYS[3] lists the positions of control entries. Of too many the
-- oldest are deleted, wherever they are, because to trim the log would take events with them. KEYS[4] is
-- named for the entry, so that a repetition appends nothing. KEYS[5] has whom control entries have named,
-- and the names of this one are the arguments that follow its own.
function operations.control()
  require_permission('SET', KEYS[4], '', 'EX', 1)
  require_permission('RPUSH', KEYS[3], '')
  require_permission('LPOP', KEYS[3])
  require_permission('XDEL', stream, '0-0')
  ask_and_begin()
  redis.call('LLEN', KEYS[3])
  if redis.call('EXISTS', KEYS[4]) == 1 then return {epoch, last} end
  local newest = redis.call('LINDEX', KEYS[3], -1)
  add_growing('control', '', ARGV[CONTROL_BODY])
  redis.call('SET', KEYS[4], '', 'EX', ARGV[CONTROL_KEY_AGE_SECONDS])
  save_state()
  pcall(revoke, newest)
  local max_controls = tonumber(ARGV[CONTROL_MAX_CONTROLS])
  local surplus = redis.call('RPUSH', KEYS[3], last) - math.max(1, max_controls)
  for _ = 1, math.min(surplus, PAGE) do
    local oldest = redis.call('LPOP', KEYS[3])
    local entry = redis.call('XRANGE', stream, oldest, oldest)[1]
    if entry and select(2, link_of(entry)) == 'control' then redis.call('XDEL', stream, oldest) end
  end
  trim(
    tonumber(ARGV[CONTROL_MAX_EVENTS]), max_controls, tonumber(ARGV[CONTROL_MAX_BYTES]),
    tonumber(ARGV[CONTROL_MAX_AGE_MS]), 1
  )
  return {epoch, last}
end

-- remember: keeps what the arguments have about the streams KEYS[3...], each for the given time; nothing
-- about a stream whose argument is empty.
function operations.remember()
  for i = 3, #KEYS do
    local value = ARGV[REMEMBER_KEEP_MS + i - 2]
    if value == '' then
      redis.call('DEL', KEYS[i])
    else
      redis.call('SET', KEYS[i], value, 'PX', ARGV[REMEMBER_KEEP_MS])
    end
  end
  return {epoch, last}
end

-- Whether no control entry has come by since. A value has the epoch, the position, the body and the
-- subjects, each in a line.
local function is_as_before(value, floor)
  local lines = {}
  for line in string.gmatch(value, '[^\n]+') do lines[#lines + 1] = line end
  if lines[1] ~= epoch or #lines < 4 then return false end
  local as_of = score(lines[2], false)
  if as_of < floor then return false end
  for i = 4, #lines do
    if known_score(KEYS[4], lines[i]) > as_of then return false end
  end
  return true
end

-- recall: what is remembered of the streams KEYS[5...], and for how many ms more; nothing of a stream
-- whose subjects a control entry has named since. KEYS[3] and KEYS[4] are KEYS[3] and KEYS[5] of control.
function operations.recall()
  refuse_on_replica()
  local floor = unknown_until(KEYS[4], redis.call('LINDEX', KEYS[3], -1))
  local found = {}
  for i = 5, #KEYS do
    local value = redis.call('GET', KEYS[i])
    local is_readable, is_sound = pcall(is_as_before, value or '', floor)
    found[i - 4] = is_readable and is_sound and {value, redis.call('PTTL', KEYS[i])}
  end
  return found
end

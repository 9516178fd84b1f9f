-- The operations of calls that append nothing, and what they share with those of `controls.lua`.

local function ask_and_begin()
  ask()
  begin_first_epoch()
end

-- Whether the log may have deleted a control entry at this position, where it has no entry: the entry
-- after it does not name an earlier one as its predecessor.
local function may_be_deleted(position)
  local following = redis.call('XRANGE', stream, '(' .. position, '+', 'COUNT', 1)[1]
  if not following then return false end
  local prev = link_of(following)
  return not (prev and is_after(position, prev))
end

-- Whether a known entry is gone although it was not removed. `event` is the last event that is known up
-- to there. If it is earlier, the known entry is a control entry, which may be deleted because there
-- are too many; then the event shows whether this is still the log in which it was.
local function is_lost(position, event)
  if is_after(position, last) then return true end
  if #redis.call('XRANGE', stream, position, position) > 0 then return false end
  if is_after(position, event) and may_be_deleted(position) then return is_lost(event, event) end
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest then return false end
  local prev = link_of(oldest)
  return is_after(position, oldest[1]) or (prev and is_after(position, prev)) or false
end

-- canary: tests, with a key of its own, whether the log could be written. The log stays as it is.
function operations.canary()
  require_permission('XADD', stream, '*', 'kind', '')
  if epoch then ask_and_begin() else ask() end
  redis.call('SET', KEYS[3], ARGV[CANARY_TOKEN], 'EX', 60)
  return redis.call('GET', KEYS[3])
end

-- The server's clock in milliseconds, by which positions are made; 0 for a user who may not read it.
local function clock_ms()
  if may and not may('TIME') then return 0 end
  local reply = redis.pcall('TIME')
  if reply.err then return 0 end
  return tonumber(reply[1]) * 1000 + math.floor(tonumber(reply[2]) / 1000)
end

-- PERSIST changes nothing, but a replica refuses it: a former master would answer for ever.
local function refuse_on_replica()
  local reply = redis.pcall('PERSIST', meta)
  local refusal = type(reply) == 'table' and reply.err
  if refusal and string.find(refusal, 'READONLY') then error(reply) end
end

-- state: returns the epoch, the head and the clock. An epoch that has lost the given entries ends first.
function operations.state()
  if not epoch or not may then ask_and_begin() end
  refuse_on_replica()
  if ARGV[STATE_EPOCH] == epoch and is_lost(ARGV[STATE_POSITION], ARGV[STATE_EVENT]) then
    ask()
    begin_epoch()
  end
  return {epoch, last, clock_ms()}
end

-- end: ends the given epoch, unless another process has ended it already.
operations['end'] = function()
  ask_and_begin()
  if epoch == ARGV[END_EPOCH] then begin_epoch() end
  return {epoch, last}
end

-- release: forgets the idempotency keys KEYS[3...] after the given age at most.
function operations.release()
  local age = tonumber(ARGV[RELEASE_AGE_SECONDS])
  for i = 3, #KEYS do
    if redis.call('TTL', KEYS[i]) > age then redis.call('EXPIRE', KEYS[i], age) end
  end
  return {epoch, last}
end

-- append: appends publications. Each of them is a section: all its events or none, whatever becomes
-- of the other sections. The keys of a section are the key named for its call, and then idempotency
-- keys. Most events have no options, or only the first ones; the others are empty. `key` is the number
-- of the idempotency key, or 0; `fingerprint` has 32 bytes; `part` distinguishes events under one key;
-- `mark` identifies the event where a publisher chose the id, because such an id may come again.
-- Elsewhere the mark is empty and the id identifies the event.
--
-- `after` is empty in the first attempt. A repetition is sent when the outcome of an attempt is
-- unknown; there, `after` is `<epoch> <position>` from before the first attempt. The repetition
-- finds what an earlier attempt appended. If that is nothing, it sets the key named for the call, so
-- that an attempt that is still on its way appends nothing when it arrives.
local FINGERPRINT = 32
local MAX_SEARCHED = 10000
local ATTEMPT_MS = 60000

-- `key` is the index in KEYS of a section's first key, and `bases` are those in ARGV of its drafts.
local function read_sections()
  local sections, key, index = {}, 3, SECTIONS_START
  while index <= #ARGV do
    local section = {
      key = key, count = tonumber(ARGV[index + SECTION_DRAFTS]),
      after = ARGV[index + SECTION_AFTER], bases = {}, found = {}, hits = 0,
    }
    sections[#sections + 1] = section
    key = key + tonumber(ARGV[index + SECTION_KEYS])
    index = index + SECTION_COUNT
    for i = 1, section.count do
      section.bases[i] = index
      index = index + DRAFT_COUNT + tonumber(ARGV[index + DRAFT_OPTIONS])
    end
  end
  return sections
end

local function option(base, name)
  return name < DRAFT_COUNT + ARGV[base + DRAFT_OPTIONS] and ARGV[base + name] or ''
end

-- The name of an event's idempotency key, its part, and both as one text; nil without a key.
local function key_of(section, base)
  local number = option(base, DRAFT_KEY)
  if number == '' or number == '0' then return end
  local part = option(base, DRAFT_PART)
  return KEYS[section.key + number], part, number .. ' ' .. part
end

-- Of a key in parts, each part is a field of a hash, because a key of Redis costs more than a field.
local function remembered(section, name, part)
  if part == '' then return redis.call('GET', name) end
  if not section.expiring then
    require_permission('EXPIRE', name, 1)
    section.expiring = {}
  end
  return redis.call('HGET', name, part)
end

local function remember(section, name, part, held, key_age)
  if part == '' then
    redis.call('SET', name, held, 'EX', key_age)
    return
  end
  redis.call('HSET', name, part, held)
  if not section.expiring[name] then
    redis.call('EXPIRE', name, key_age)
    section.expiring[name] = true
  end
end

local function numbers_by_mark(section)
  local numbers = {}
  for i, base in ipairs(section.bases) do
    local mark = option(base, DRAFT_MARK)
    numbers[mark ~= '' and mark or ARGV[base + DRAFT_ID]] = i
  end
  return numbers
end

-- Whether the log still has every entry after a position that a call of the last minute can have
-- appended: trimming may have taken some already.
local function reaches_back_to(known)
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest then return false end
  local prev = link_of(oldest)
  return split(oldest[1]) < split(last) - ATTEMPT_MS or prev and not is_after(prev, known)
end

-- Finds the positions by the number of the event, and how many there are. Returns whether the search
-- covered every entry that the call can have appended.
local function find(section)
  local numbers, seen = numbers_by_mark(section), 0
  local known_epoch, known = string.match(section.after, '^(%S+) (%S+)$')
  if known_epoch ~= epoch then known = '0-0' end
  local from, till = '(' .. known, '+'
  while section.hits < section.count and seen < MAX_SEARCHED do
    local page = redis.call('XREVRANGE', stream, till, from, 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      local mark, id = string.match(entry[2][2], '^([^\n]*)\n([^\n]*)\n')
      local number = numbers[mark ~= '' and mark or id or '']
      if number and not section.found[number] then
        section.found[number], section.hits = entry[1], section.hits + 1
      end
      till = '(' .. entry[1]
    end
    seen = seen + #page
    if #page < PAGE then return reaches_back_to(known) end
  end
  return section.hits == section.count
end

-- Returns the reply to a section that appends nothing, before anything of the section is written.
-- `saved` is the last position that the state has from before this call.
local function judge(section, repeated, saved)
  if repeated and section.after == '' then return {'unknown'} end
  local complete = section.after == '' or find(section)
  if section.hits == 0 and (repeated or not complete) then return {'unknown'} end
  for _, position in pairs(section.found) do
    -- An earlier attempt failed midway: the state does not have what the log has.
    if is_after(position, saved) then return {'unknown'} end
  end
  section.held = {}
  local fingerprints = {}
  for i, base in ipairs(section.bases) do
    local name, part, key = key_of(section, base)
    if name and not section.found[i] then
      local fingerprint = ARGV[base + DRAFT_FINGERPRINT]
      local known = fingerprints[key]
      if not known then
        section.held[key] = remembered(section, name, part)
        known = section.held[key] and string.sub(section.held[key], 1, FINGERPRINT)
      end
      if section.hits == 0 and known and known ~= fingerprint then return {'conflict', i - 1} end
      fingerprints[key] = fingerprint
    end
    if section.hits > 0 and not (section.found[i] or name and section.held[key]) then
      return {'unknown'} -- Some of the call's events were trimmed since.
    end
  end
end

-- The content of an event, each part but the data on a line of its own: see `records.py`.
local function content_of(base)
  local mark, options = '', '\n\n\n\n'
  if ARGV[base + DRAFT_OPTIONS] ~= '0' then
    mark = option(base, DRAFT_MARK)
    options = option(base, DRAFT_RETRY) .. '\n' .. option(base, DRAFT_TRACE) .. '\n'
      .. option(base, DRAFT_SWAP) .. '\n' .. string.gsub(option(base, DRAFT_SKIP), '\n', '\t') .. '\n'
  end
  return mark .. '\n' .. ARGV[base + DRAFT_ID] .. '\n' .. ARGV[base + DRAFT_FORM] .. '\n'
    .. ARGV[base + DRAFT_TYPE] .. '\n' .. options .. ARGV[base + DRAFT_DATA]
end

local function add_event(base)
  -- After the first event of a call, Redis itself makes sure that positions grow.
  local put = added == 0 and add_growing or add
  local topics, content = ARGV[base + DRAFT_TOPICS], content_of(base)
  put('event', topics, content)
  size, events, last_event = size + #topics + #content, events + 1, last
end

-- Returns the reply, which has a position for each event; for an event that was kept before this
-- section, it has the epoch, the position and the id under which that event was kept.
local function write(section, key_age)
  local receipts, before = {}, added
  for i, base in ipairs(section.bases) do
    local name, part, key = key_of(section, base)
    local held = name and section.held[key]
    if section.found[i] then
      receipts[i] = section.found[i]
    elseif held then
      receipts[i] = {string.match(held, ' (%S+) (%S+) (.*)$')}
    else
      add_event(base)
      if name then
        held = ARGV[base + DRAFT_FINGERPRINT] .. ' ' .. epoch .. ' ' .. last .. ' '
          .. ARGV[base + DRAFT_ID]
        remember(section, name, part, held, key_age)
        section.held[key] = held
      end
      receipts[i] = last
    end
  end
  if added > before and section.after ~= '' then
    redis.call('SET', KEYS[section.key], '', 'EX', key_age)
  end
  return {'kept', epoch, receipts}
end

-- Returns whether any of these calls was repeated, which is rare.
local function has_repeated(sections)
  local names = {}
  for i, section in ipairs(sections) do names[i] = KEYS[section.key] end
  return redis.call('EXISTS', unpack(names)) > 0
end

-- Returns the replies to all sections. What a section raises before it writes is the refusal of that
-- section alone. If one fails midway, the state gets what the sections before it have appended, and
-- those after it are refused: what is in the log and not in the state ends the epoch.
local function append_sections(sections, key_age)
  local replies, saved, failure = {}, last, nil
  local some_repeated = has_repeated(sections)
  for i, section in ipairs(sections) do
    local before = added
    local kept = {added, last, size, events, last_event}
    local is_judged = false
    local is_done, reply = pcall(function()
      if failure then error(failure) end
      local repeated = some_repeated and redis.call('EXISTS', KEYS[section.key]) == 1
      local decided = judge(section, repeated, saved)
      is_judged = true
      return decided or write(section, key_age)
    end)
    if is_done then
      replies[i] = reply
    elseif added > before then
      replies[i], failure = {'unknown', fault_of(reply)}, reply
      added, last, size, events, last_event = unpack(kept)
    elseif is_judged and added == 0 and not failure then
      error(reply) -- The first write of this call: no other would be let through.
    else
      replies[i] = {'refused', fault_of(reply)}
    end
  end
  return replies, failure
end

function operations.append()
  require_permission('SET', KEYS[3], '', 'EX', 1)
  ask_permissions()
  begin_first_epoch()
  local replies, failure = append_sections(read_sections(), ARGV[APPEND_KEY_AGE_SECONDS])
  if added > 0 then
    save_state()
    trim(
      tonumber(ARGV[APPEND_MAX_EVENTS]), tonumber(ARGV[APPEND_MAX_CONTROLS]),
      tonumber(ARGV[APPEND_MAX_BYTES]), tonumber(ARGV[APPEND_MAX_AGE_MS]), added
    )
  elseif ARGV[APPEND_TOUCH] ~= '' and not failure then
    -- WAIT waits for the last write of this connection, so there has to be one.
    redis.call('HSET', meta, 'last', last)
  end
  return replies
end

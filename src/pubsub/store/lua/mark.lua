-- Marks messages of a channel, takes away what has expired, and tells what the marks are. Behind channel.lua, look.lua and
-- marks.lua.
--
-- KEYS  1 to 3 look.lua, 4 marks, 5 keys, 6 ttl (marks.lua)
-- ARGV  1 to 3 look.lua, 4 a version that the marks are known to have had (marks.lua), 5 id of a change, 6 'PUBLISH' or
--       'SPUBLISH', 7 magic of a doorbell of marks, 8 channel on the bus,
--       9 '' to look only, or what to mark messages as; `withdrawn` is `deleted`, however many ranges there are,
--       10 which: 'all'
--          'upTo', then 11 epoch, 12 id (16) and offset (6) of the last one
--          'messages', then epoch by turns with id and offset of each message, ascending: those of its own epoch count
--          'key', then 11 the key that it was to be replaced by
-- Returns {top, length of the list, marks or '', how many messages were changed or, below zero, the number of ranges that
--          were too many, how much is left to do}: so many of the messages, the last ones, or 1 for something of all, or -1
--          for everything. Then it is to be called again, as Redis would do nothing else for long otherwise.
--          For an unused channel {'', origin, milliseconds}.
-- Said again with the same id and nothing changed in between, it says again what it has changed.

-- Entries that are read in one call, and bytes of them: Redis does nothing else meanwhile.
local MOST, BUDGET = 256, 1048576

local t, now, is_due, origin = look()
if not t then
  return { '', origin, now }
end
if is_due then
  for i = 4, 6 do
    redis_call('PEXPIRE', KEYS[i], math.floor(t.keep * 1.25) + 1)
  end
end
local list, marks_key, keys_key, ttl_key = KEYS[2], KEYS[4], KEYS[5], KEYS[6]
local id, as, which = ARGV[5], ARGV[9], ARGV[10]
local marks = marks_functions()
local length = redis_call('LLEN', list)
local first = math.max(t.offset - length, t.offset - t.most) + 1
local stored = redis_call('GET', marks_key)
local m, is_changed = marks.load(stored, t, list, ARGV[1], ARGV[4])
local is_repeated = m.number > 0 and m.id == id
local newest, changed_before = t.offset, 0
if is_repeated then
  newest, changed_before = m.at, m.changed
end

local expired, left, next_before = 0, 0, m.next
-- Without marks, nobody knows whether something expires.
if m.next > 0 and m.next <= now or not stored and redis_call('EXISTS', ttl_key) == 1 then
  local is_unfinished
  expired, is_unfinished = marks.expire(m, t, list, ttl_key, now, MOST, BUDGET)
  if is_unfinished then
    left, as = -1, ''
  end
end

-- The entry at an offset, with others of the same row, of which there are so many: one by one they cost twice as much.
local row, row_from = {}, 0
local most_in_row = math.max(1, math.min(32, math.floor(262144 / math.max(t.big, 1))))
local function entry_at(offset, count)
  if not row[offset - row_from + 1] then
    local from = offset - t.offset - 1
    row, row_from = redis_call('LRANGE', list, from, from + math.min(count, most_in_row) - 1), offset
  end
  return row[offset - row_from + 1] or ''
end

-- Which of these messages are kept: their offsets, and where their entries begin.
local heads = {}
local function those_kept(positions)
  local kept, budget, looks = {}, BUDGET, 0
  local count = #positions / 22
  for i = 1, count do
    if budget <= 0 or looks == MOST then
      return kept, count - i + 1
    end
    local its_id, offset = unpack_fields('>c16I6', positions, 22 * i - 21)
    if offset >= first and offset <= t.offset then
      local last = math.min(i + most_in_row - 1, count)
      local is_row = unpack_fields('>I6', positions, 22 * last - 5) - offset == last - i
      local entry = entry_at(offset, is_row and math.min(last - i, t.offset - offset) + 1 or 1)
      budget = budget - #entry
      looks = looks + 1
      local head, stored_id = marks.head_of(entry, offset)
      if stored_id == its_id then
        kept[#kept + 1] = offset
        heads[offset] = head
      end
    end
  end
  return kept, 0
end

-- The last ones of these messages, so many, as if all of them were kept.
local function those_left(positions, count)
  local offsets = {}
  for i = #positions / 22 - count, #positions / 22 - 1 do
    local offset = unpack_fields('>I6', positions, 22 * i + 17)
    if offset >= first and offset <= t.offset then
      offsets[#offsets + 1] = offset
    end
  end
  return marks.ranges_of(offsets)
end

-- The first of them that are not gone, as many as can be erased in one call.
local function those_to_erase(last)
  local all, budget = marks.without({ first, last }, m.gone), BUDGET
  local some = {}
  for i = 1, #all, 2 do
    for offset = all[i], all[i + 1] do
      if budget <= 0 or #some == MOST then
        return some, 1
      end
      local entry = entry_at(offset, all[i + 1] - offset + 1)
      local head = marks.head_of(entry, offset)
      if not head then
        error('an entry of the log that is not at its place', 0)
      end
      budget = budget - #entry
      some[#some + 1] = offset
      heads[offset] = head
    end
  end
  return some, 0
end

local function up_to(last)
  if last < first then
    return {}
  end
  if as == 'deleted' then
    local some
    some, left = those_to_erase(last)
    return marks.ranges_of(some)
  end
  return { first, last }
end

-- What this call is about, and what others will be about.
local function target()
  if which == 'all' then
    return up_to(newest)
  end
  if which == 'key' then
    local its_offset, its_id = string.match(redis_call('HGET', keys_key, ARGV[11]) or '', '^(%d+) (%S+)$')
    local kept = its_id and #its_id == 16 and those_kept(its_id .. pack('>I6', tonumber(its_offset))) or {}
    return marks.ranges_of(kept)
  end
  for i = 11, #ARGV, 2 do
    if ARGV[i] == t.epoch then
      local kept
      kept, left = those_kept(ARGV[i + 1])
      if which == 'messages' then
        return marks.ranges_of(kept), left > 0 and those_left(ARGV[i + 1], left)
      end
      return kept[1] and up_to(kept[1]) or {}
    end
  end
  return {}
end

local changed = 0
if as ~= '' then
  local these, others = target()
  local about = marks.without(these, m.gone)
  if as == 'withdrawn' then
    changed = marks.apply(m, 'deleted', about)
  else
    changed = marks.apply_within_bounds(m, as, about, marks.without(others or {}, m.gone), t.offset - length + 1)
  end
  if (as == 'deleted' or as == 'withdrawn') and changed > 0 then
    for i = 1, #about, 2 do
      for offset = about[i], about[i + 1] do
        marks.erase(t, list, offset, heads[offset])
      end
    end
  end
end

is_changed = is_changed or expired > 0 or changed > 0
if is_changed then
  marks.change(m, id, changed_before + math.max(0, changed))
end
if m.number == 0 and m.next == 0 then
  if stored then
    redis_call('DEL', marks_key)
  end
  stored = ''
elseif is_changed or m.next ~= next_before or m.epoch ~= t.epoch then
  stored = marks.store(m, t, length, marks_key)
end
if is_changed then
  marks.tell(t, length, stored, ARGV[6], ARGV[7], ARGV[8])
end
return { pack_top(t), length, stored, changed < 0 and changed or changed_before + changed, left }

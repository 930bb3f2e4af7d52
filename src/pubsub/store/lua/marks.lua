-- Shared by the scripts that change marks, behind channel.lua: what is kept beside a channel's log of the states of its
-- messages (marks.ts). Its functions are only made where they are needed.
--
-- marks  string, 105 bytes and twelve for each range:
--          epoch    23  of the channel, when this was written
--          version  12  epoch of the marks, by chance
--          id       16  of the last change
--          at_id    16  of the newest message, when this was written
--          at        6  offset of that message (big-endian, as all numbers)
--          number    6  of changes
--          next      6  no message expires before; 0 if none does
--          changed   4  how many messages the last change has changed
--          counts    4  times 4: how many ranges of messages that were seen, read, archived, and are gone
--          ranges       first and last offset of each, 6 bytes each
-- keys   hash of `replaces` key to '<offset> <id>' of the newest message with it
-- ttl    sorted set of '<offset> <id>', by when the message expires
--
-- A message that is gone is '<offset> <time> <id> g\n' in the list, and has its place in `gone`: always both.

local function marks_functions()
  local HEAD = '>I6I6I6I4I4I4I4I4'
  local HEAD_BYTES = 105
  local KINDS = { 'seen', 'read', 'archived', 'gone' }
  -- Ranges that are packed at a time.
  local SOME = 50
  local MOST_RANGES = 4096
  local match, floor, max, min = string.match, math.floor, math.max, math.min

  -- Ranges are flat here: { first, last, first, last … }. None of these functions changes what it is given.

  -- What is in either.
  local function union(a, b)
    if #a == 0 then
      return b
    end
    local result, n, i, k = {}, 0, 1, 1
    while a[i] or b[k] do
      local first, last
      if not b[k] or (a[i] and a[i] <= b[k]) then
        first, last = a[i], a[i + 1]
        i = i + 2
      else
        first, last = b[k], b[k + 1]
        k = k + 2
      end
      if n > 0 and first <= result[n] + 1 then
        result[n] = max(result[n], last)
      else
        result[n + 1], result[n + 2] = first, last
        n = n + 2
      end
    end
    return result
  end

  -- What is in `a` and not in `b`.
  local function without(a, b)
    local result, n, k = {}, 0, 1
    for i = 1, #a, 2 do
      local first, last = a[i], a[i + 1]
      while b[k] and b[k + 1] < first do
        k = k + 2
      end
      local at = k
      while b[at] and b[at] <= last do
        if b[at] > first then
          result[n + 1], result[n + 2] = first, b[at] - 1
          n = n + 2
        end
        first = b[at + 1] + 1
        at = at + 2
      end
      if first <= last then
        result[n + 1], result[n + 2] = first, last
        n = n + 2
      end
    end
    return result
  end

  local function size(a)
    local sum = 0
    for i = 1, #a, 2 do
      sum = sum + a[i + 1] - a[i] + 1
    end
    return sum
  end

  -- What begins at `lowest` or above.
  local function clip(a, lowest)
    if #a == 0 or a[1] >= lowest then
      return a
    end
    local result, n = {}, 0
    for i = 1, #a, 2 do
      if a[i + 1] >= lowest then
        result[n + 1], result[n + 2] = max(a[i], lowest), a[i + 1]
        n = n + 2
      end
    end
    return result
  end

  -- Of offsets that ascend.
  local function ranges_of(offsets)
    local result, n = {}, 0
    for i = 1, #offsets do
      if n > 0 and offsets[i] <= result[n] + 1 then
        result[n] = offsets[i]
      else
        result[n + 1], result[n + 2] = offsets[i], offsets[i]
        n = n + 2
      end
    end
    return result
  end

  local function unpack_marks(bytes)
    if #bytes < HEAD_BYTES then
      error('a string that is no marks of a channel', 0)
    end
    local m, counts = {
      epoch = sub(bytes, 1, 23), version = sub(bytes, 24, 35), id = sub(bytes, 36, 51), at_id = sub(bytes, 52, 67),
    }, {}
    m.at, m.number, m.next, m.changed, counts[1], counts[2], counts[3], counts[4] = unpack_fields(HEAD, bytes, 68)
    if #bytes ~= HEAD_BYTES + 12 * (counts[1] + counts[2] + counts[3] + counts[4]) then
      error('a string that is no marks of a channel', 0)
    end
    local from = HEAD_BYTES + 1
    for kind = 1, 4 do
      local ranges, n, left = {}, 0, counts[kind]
      while left > 0 do
        local some = min(left, SOME)
        local numbers = { unpack_fields('>' .. ('I6'):rep(2 * some), bytes, from) }
        for i = 1, 2 * some do
          ranges[n + i] = numbers[i]
        end
        n = n + 2 * some
        from = from + 12 * some
        left = left - some
      end
      m[KINDS[kind]] = ranges
    end
    return m
  end

  local function pack_marks(m)
    local parts = {
      m.epoch .. m.version .. m.id .. m.at_id
        .. pack(HEAD, m.at, m.number, m.next, m.changed, #m.seen / 2, #m.read / 2, #m.archived / 2, #m.gone / 2),
    }
    for kind = 1, 4 do
      local ranges = m[KINDS[kind]]
      for i = 1, #ranges, 2 * SOME do
        local last = min(#ranges, i + 2 * SOME - 1)
        parts[#parts + 1] = pack('>' .. ('I6'):rep(last - i + 1), unpack(ranges, i, last))
      end
    end
    return table.concat(parts)
  end

  -- Whether they are of this life of the channel. A log that has rewound has another epoch and the marks of the same
  -- moment: the message that was the newest then is there. Where it is not kept any more, none is that they are about.
  local function belongs(m, t, list)
    if m.at >= t.offset then
      return m.at == t.offset and m.at_id == t.id
    end
    if m.epoch == t.epoch then
      return true
    end
    local offset, id = match(redis_call('LINDEX', list, m.at - t.offset - 1) or '', '^(%d+) %d+ (%S+)')
    return tonumber(offset) == m.at and id == m.at_id
  end

  -- The marks of a channel, and whether their version has changed by that, as changes are missing that somebody knows of.
  --
  -- `known`: version (12), id (16) and number (6) that they are known to have had, or ''.
  local function load(bytes, t, list, start, known)
    local m = bytes and unpack_marks(bytes)
    if not (m and belongs(m, t, list)) then
      return {
        version = sub(start, 1, 12), id = (' '):rep(16), number = 0, next = 0, changed = 0,
        seen = {}, read = {}, archived = {}, gone = {},
      }, false
    end
    if known == '' or sub(known, 1, 12) ~= m.version then
      return m, false
    end
    local number = unpack_fields('>I6', known, 29)
    if number < m.number or (number == m.number and sub(known, 13, 28) == m.id) then
      return m, false
    end
    m.version = sub(start, 1, 12)
    return m, true
  end

  local function clip_all(m, lowest)
    local count = 0
    for kind = 1, 4 do
      local name = KINDS[kind]
      m[name] = clip(m[name], lowest)
      count = count + #m[name] / 2
    end
    return count
  end

  -- Returns the marks as they are stored now.
  local function store(m, t, length, key)
    clip_all(m, t.offset - length + 1)
    m.epoch, m.at, m.at_id = t.epoch, t.offset, t.id
    local bytes = pack_marks(m)
    redis_call('SET', key, bytes, 'PX', floor(t.keep * 1.25) + 1)
    return bytes
  end

  local function change(m, id, changed)
    m.number, m.id, m.changed = m.number + 1, id, changed
  end

  -- Tells subscribers: the top, the length of the list, and the marks.
  local function tell(t, length, bytes, ring, magic, bus)
    redis_call(ring, bus, magic .. '\n' .. pack_top(t) .. pack('>I6', length) .. bytes)
  end

  -- Of an entry of the list, if it is at this offset: where it begins, its id, and whether it is gone.
  local function head_of(entry, offset)
    local head, its_offset, id, kind = match(entry, '^((%d+) %d+ (%S+)) (%a)')
    if tonumber(its_offset) == offset then
      return head, id, kind == 'g'
    end
  end

  local function erase(t, list, offset, head)
    redis_call('LSET', list, offset - t.offset - 1, head .. ' g\n')
  end

  -- Erases the message if it is there, and not gone. Returns whether, and how many bytes were read.
  local function take_away(m, t, list, offset, id)
    local entry = offset <= t.offset and redis_call('LINDEX', list, offset - t.offset - 1)
    if not entry then
      return false, 0
    end
    local head, its_id, is_gone = head_of(entry, offset)
    if its_id ~= id or is_gone then
      return false, #entry
    end
    erase(t, list, offset, head)
    return true, #entry
  end

  -- Takes away what has expired, within bounds. Returns how many messages that changed, and whether there is more to do.
  local function expire(m, t, list, ttl_key, now, most, budget)
    local due = redis_call('ZRANGEBYSCORE', ttl_key, '-inf', now, 'LIMIT', 0, most)
    local gone, done = {}, 0
    while done < #due and budget > 0 do
      done = done + 1
      local offset, id = match(due[done], '^(%d+) (%S+)$')
      offset = tonumber(offset)
      local is_gone, bytes = take_away(m, t, list, offset or t.offset + 1, id)
      budget = budget - bytes
      if is_gone then
        gone[#gone + 1] = offset
      end
    end
    if done > 0 then
      redis_call('ZREM', ttl_key, unpack(due, 1, done))
    end
    local next = redis_call('ZRANGE', ttl_key, 0, 0, 'WITHSCORES')
    m.next = tonumber(next[2]) or 0
    table.sort(gone)
    m.gone = union(m.gone, ranges_of(gone))
    return #gone, m.next > 0 and m.next <= now
  end

  -- What becomes of marks. `about` are kept and not gone. Returns how many messages it changes.
  local function apply(m, as, about)
    local all, changed = size(about), nil
    if as == 'deleted' then
      m.gone = union(m.gone, about)
      return all
    elseif as == 'unread' then
      changed = all - size(without(about, m.read))
      m.read = without(m.read, about)
    elseif as == 'unarchived' then
      changed = all - size(without(about, m.archived))
      m.archived = without(m.archived, about)
    elseif as == 'archived' then
      changed = size(without(about, m.archived))
      m.archived = union(m.archived, about)
    elseif as == 'seen' then
      changed = size(without(about, m.seen))
      m.seen = union(m.seen, about)
    else
      changed = size(without(about, m.read))
      m.seen, m.read = union(m.seen, about), union(m.read, about)
    end
    return changed
  end

  -- As `apply`, within bounds: where ranges would be too many, nothing changes, and their number is returned below zero.
  -- `others` are what the same mark is about in later calls, so that it is refused before any of it is made.
  local function apply_within_bounds(m, as, about, others, lowest)
    local seen, read, archived, gone = m.seen, m.read, m.archived, m.gone
    local before = (#seen + #read + #archived + #gone) / 2
    local changed = apply(m, as, union(about, others))
    local count = clip_all(m, lowest)
    local is_refused = changed > 0 and count > MOST_RANGES and count > before
    if is_refused or #others > 0 then
      m.seen, m.read, m.archived, m.gone = seen, read, archived, gone
    end
    if is_refused then
      return -count
    end
    return #others > 0 and apply(m, as, about) or changed
  end

  return {
    load = load, store = store, change = change, tell = tell, head_of = head_of, erase = erase, take_away = take_away,
    expire = expire, apply = apply, apply_within_bounds = apply_within_bounds, unpack = unpack_marks, without = without,
    union = union, ranges_of = ranges_of,
  }
end

-- Stores messages of any number of channels, assigns their offsets and rings the doorbells, in one step.
--
-- Messages come in runs: neighbours of one channel, stored together and rung for together. What fails in a run leaves
-- all others alone. Nothing is deleted before the first message is written: a script that has written is not held to
-- maxmemory any more.
--
-- KEYS  1 origin (string, four characters), then for each run: top, list (channel.lua), and the receipts of its
--       messages with an idempotency key: strings '<epoch> <offset> <id>'; in a run with a life then marks, keys, ttl
--       (marks.lua)
-- ARGV  1 'PUBLISH' or 'SPUBLISH', 2 magic of a message doorbell, 3 in bytes: twelve characters by chance, milliseconds
--       that an idle channel is remembered (6 bytes), and how long receipts are kept (6 bytes for each that differs);
--       then for each run: channel on the bus; what it is, in bytes: how many messages (1), for how many milliseconds they
--       are kept (6) and how many of them (4), for each which receipt's time is its own, or 0 (1), then a message that
--       the log is known to have had (channel.lua); then for each message '<id> <kind>\n<payload>'.
--       A run of 0 messages stores nothing, and hands one payload to whoever listens.
--       A run of 128 + 1 is one message with a life. Behind it follows what that is, in bytes: milliseconds after which it
--       expires, or 0 (6), id for a change of the marks (16), magic of a doorbell of marks (11), how many bytes a version
--       has that the marks are known to have had (1), that version, and the key of what it replaces, or nothing.
-- Returns for each run its epoch, then for each message: its offset, the receipt of the first time, or an error.

local ring, magic = ARGV[1], ARGV[2]
local start, idle = sub(ARGV[3], 1, 12), unpack_fields('>I6', ARGV[3], 13)
local now = clock()
local byte = string.byte
local replies = {}

-- What changes where more than the newest message does, and where a channel begins.
local function store_rarely(t, found, top_key, list, length, stored)
  local is_trimmed = length > t.most + math.floor(t.most / 8)
  if length == stored then
    t.head = t.time
  end
  if is_trimmed then
    redis_call('LTRIM', list, -t.most, -1)
    t.head = time_of(redis_call('LINDEX', list, 0))
  end
  local is_due = now >= t.renew or length == stored
  if is_due then
    renew(t, list, now)
  end
  save(t, top_key, found, is_due)
end

-- Stores the messages of a run, whose replies begin at `first`: those that have one already are left out.
-- Returns the epoch.
local function store(at, key, count, first)
  local what_it_is = ARGV[at + 1]
  local wanted_age, wanted_most = unpack_fields('>I6I4', what_it_is, 2)
  local known = sub(what_it_is, 12 + count)
  local top_key, list = KEYS[key], KEYS[key + 1]
  local found = redis_call('GET', top_key)
  local is_stale, is_rare = false, false
  local epoch, age, most, keep, renew_at, head, big, _, offset, time
  if found then
    check_top(found)
    age, most, keep, renew_at, head, big, _, offset, time = unpack_fields(FIELDS, found, 24)
    if has_rewound(found, known) then
      epoch = new_epoch(start, origin_of(start, KEYS[1]))
      is_rare = true
    else
      epoch = sub(found, 1, 23)
    end
  else
    -- A log without its top (evicted, say) can't be told apart from one that lost messages: begin anew.
    is_stale = redis_call('LLEN', list) > 0
    local origin = origin_of(start, KEYS[1])
    epoch = new_epoch(start, origin, not (is_stale or has_lost(known, origin)) and now, idle)
    age, most, keep, renew_at, head, big, offset, time = 0, 0, idle, 0, now, 0, 0, 0
  end
  -- A clock that steps back must not make a younger message look older than its elders.
  if time < now then
    time = now
  end
  local longest = math.max(keep, idle, wanted_age)
  local largest = big
  local middle = ' ' .. time .. ' '
  local stored, entry, entries, receipts, last = 0, nil, nil, nil, nil
  local receipt_key = key + 1
  for i = 1, count do
    local window = byte(what_it_is, 11 + i)
    if window > 0 then
      receipt_key = receipt_key + 1
    end
    if replies[first + i] == '' then
      local own_key = window > 0 and KEYS[receipt_key]
      local earlier = own_key and receipts and receipts[own_key]
      if earlier then
        replies[first + i] = earlier[1]
      else
        last = ARGV[at + 1 + i]
        offset = offset + 1
        stored = stored + 1
        entry = offset .. middle .. last
        if stored == 2 then
          entries = { entries }
        end
        if stored > 1 then
          entries[stored] = entry
        else
          entries = entry
        end
        replies[first + i] = offset
        if #entry > largest then
          largest = #entry
        end
        if own_key then
          receipts = receipts or {}
          local kept = unpack_fields('>I6', ARGV[3], 13 + 6 * window)
          receipts[own_key] = { epoch .. ' ' .. offset .. ' ' .. sub(last, 1, 16), kept }
          longest = math.max(longest, kept)
        end
      end
    end
  end

  local length
  if stored == 1 then
    length = redis_call('RPUSH', list, entry)
  else
    length = redis_call('RPUSH', list, unpack(entries))
  end
  if is_stale then
    redis_call('LTRIM', list, -stored, -1)
    length = stored
  end
  local is_same = age == wanted_age and keep == longest and most == wanted_most and big == largest
  if is_same and not is_rare and now < renew_at and length > stored and length <= most + most / 8 then
    redis_call('SETRANGE', top_key, 55, sub(last, 1, 16) .. pack('>I6I6', offset, time))
  else
    if age ~= wanted_age or keep ~= longest then
      renew_at = 0
    end
    store_rarely({
      epoch = epoch, age = wanted_age, most = wanted_most, keep = longest, renew = renew_at, head = head,
      big = largest, id = sub(last, 1, 16), offset = offset, time = time,
    }, found, top_key, list, length, stored)
  end
  if receipts then
    for own_key, receipt in pairs(receipts) do
      redis_call('SET', own_key, receipt[1], 'PX', receipt[2])
    end
  end
  if stored == 1 then
    redis_call(ring, ARGV[at], magic .. epoch .. '\n' .. #entry .. ' ' .. entry)
  else
    for i = 1, stored do
      entries[i] = #entries[i] .. ' ' .. entries[i]
    end
    redis_call(ring, ARGV[at], magic .. epoch .. '\n' .. table.concat(entries))
  end
  return epoch
end

-- Removes those of a few, taken by chance, whose message is not kept any more. So no call is long, and however many come,
-- no more than about a third is of that kind.
-- `each`: how many values of `some` are about one, the last of which begins with an offset.
local function forget(some, each, t, oldest, command, key)
  for i = 1, #some, each do
    local offset = tonumber(string.match(some[i + each - 1], '^%d+'))
    if not offset or offset < oldest or offset > t.offset then
      redis_call(command, key, some[i])
    end
  end
end

local marks

-- As `store`, for a message that expires or takes the place of an older one. `beside` is where its last keys begin.
local function store_with_life(at, key, beside, first)
  local top_key, list = KEYS[key], KEYS[key + 1]
  local marks_key, keys_key, ttl_key = KEYS[beside], KEYS[beside + 1], KEYS[beside + 2]
  local ttl, id, bell_magic, known_length = unpack_fields('>I6c16c11B', ARGV[at + 3])
  local known = sub(ARGV[at + 3], 35, 34 + known_length)
  local replaces = sub(ARGV[at + 3], 35 + known_length)
  -- What is damaged keeps the message from being stored, so it is looked at before.
  marks = marks or marks_functions()
  local bytes = redis_call('GET', marks_key)
  if bytes then
    marks.unpack(bytes)
  end
  local former = replaces ~= '' and redis_call('HGET', keys_key, replaces)
  if ttl > 0 then
    redis_call('ZCARD', ttl_key)
  end
  local epoch = store(at, key, 1, first)

  local t = unpack_top(redis_call('GET', top_key))
  local length = redis_call('LLEN', list)
  local oldest = math.max(t.offset - length, t.offset - t.most) + 1
  local lives = math.floor(t.keep * 1.25) + 1
  local own = string.format('%.0f ', t.offset) .. t.id
  local m, is_changed = marks.load(bytes, t, list, start, known)
  local changed = 0
  if replaces ~= '' then
    local offset, its_id = string.match(former or '', '^(%d+) (%S+)$')
    offset = tonumber(offset)
    if offset and offset >= oldest and marks.take_away(m, t, list, offset, its_id) then
      m.gone = marks.union(m.gone, { offset, offset })
      changed = 1
    end
    local is_new = redis_call('HSET', keys_key, replaces, own) == 1
    redis_call('PEXPIRE', keys_key, lives)
    if is_new then
      forget(redis_call('HRANDFIELD', keys_key, 4, 'WITHVALUES'), 2, t, oldest, 'HDEL', keys_key)
    end
  end
  local is_sooner = false
  if ttl > 0 then
    -- As expiryOf of marks.ts.
    local expires = math.min(t.time + ttl, 2 ^ 47)
    redis_call('ZADD', ttl_key, expires, own)
    redis_call('PEXPIRE', ttl_key, lives)
    forget(redis_call('ZRANDMEMBER', ttl_key, 4), 1, t, oldest, 'ZREM', ttl_key)
    is_sooner = m.next == 0 or expires < m.next
    if is_sooner then
      m.next = expires
    end
  end
  if is_changed or changed > 0 then
    marks.change(m, id, changed)
    marks.tell(t, length, marks.store(m, t, length, marks_key), ring, bell_magic, ARGV[at])
  elseif is_sooner then
    marks.store(m, t, length, marks_key)
  end
  return epoch
end

local at, key, first, last_argument = 4, 2, 1, #ARGV
while at < last_argument do
  local what_it_is = ARGV[at + 1]
  local count, has_life = byte(what_it_is), false
  if count > 128 then
    count, has_life = 1, true
  end
  replies[first] = ''
  if count == 0 then
    local rung, reason = pcall(redis_call, ring, ARGV[at], ARGV[at + 2])
    if not rung then
      replies[first] = failure(reason)
    end
    at = at + 3
  else
    -- Those with a receipt are answered with it, and the others have an empty answer by now.
    local receipt_key, fresh, given = key + 1, count, nil
    for i = 1, count do
      replies[first + i] = ''
      if byte(what_it_is, 11 + i) > 0 then
        receipt_key = receipt_key + 1
        local receipt = redis.pcall('GET', KEYS[receipt_key])
        if receipt then
          replies[first + i] = type(receipt) == 'table' and failure(receipt) or receipt
          fresh = fresh - 1
          given = given or {}
          given[i] = true
        end
      end
    end
    if fresh > 0 then
      local done, epoch
      if has_life then
        done, epoch = pcall(store_with_life, at, key, receipt_key + 1, first)
      else
        done, epoch = pcall(store, at, key, count, first)
      end
      if done then
        replies[first] = epoch
      else
        for i = 1, count do
          if not (given and given[i]) then
            replies[first + i] = failure(epoch)
          end
        end
      end
    end
    key = receipt_key + 1
    at = at + 2 + count
    if has_life then
      key, at = key + 3, at + 1
    end
  end
  first = first + count + 1
end
return replies

-- Part of publish.lua, whose KEYS and ARGV these are: stores the messages of a run.

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

-- A page of a channel's log, and where the channel stands. For what can't be read with plain commands: a channel that
-- is unused or has lost something, messages that are too old or so large that their bytes must be counted, lifetimes
-- that have to be set again.
--
-- KEYS  1 top, 2 list (channel.lua), 3 origin (string)
-- ARGV  1 twelve characters by chance, 2 milliseconds that an idle channel is remembered, 3 a message that the log is
--       known to have had (channel.lua), 4 read after this offset, 5 most messages, 6 stop after this many bytes
-- Returns {top, lowest offset that is kept, entries of the list …}; for an unused channel {'', origin, milliseconds}.
-- Nothing is written for an unused one: whoever looks at channels that nobody writes to must not fill Redis.

local found = redis.call('GET', KEYS[1])
local known = ARGV[3]
local now = clock()
local t
if not found then
  local origin = origin_of(ARGV[1], KEYS[3])
  if redis.call('LLEN', KEYS[2]) == 0 and not has_lost(known, origin) then
    return { '', origin, now }
  end
  t = save_anew(ARGV[1], origin, KEYS[1], now, tonumber(ARGV[2]))
  redis.call('DEL', KEYS[2])
else
  t = unpack_top(found)
  local is_changed = false
  if has_rewound(found, known) then
    t.epoch = new_epoch(ARGV[1], origin_of(ARGV[1], KEYS[3]))
    is_changed = true
  end
  local is_due = now >= t.renew
  if is_due then
    renew(t, KEYS[2], now)
  elseif t.head <= now - t.age then
    t.head = age_out(KEYS[2], now - t.age)
    is_changed = true
  end
  if is_changed or is_due then
    save(t, KEYS[1], true, is_due)
  end
end

-- The list has no holes: entries leave it only at its head. Where somebody else has made one, what is before it counts
-- as trimmed.
local length = redis.call('LLEN', KEYS[2])
local function is_at_its_place(index)
  local offset = tonumber(redis.call('LINDEX', KEYS[2], index):match('^%d+'))
  if not offset then
    error('an entry of the log that is no message', 0)
  end
  return offset == t.offset - length + 1 + index
end
local function mend()
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_at_its_place(middle) then
      high = middle
    else
      low = middle + 1
    end
  end
  redis.call('LTRIM', KEYS[2], low, -1)
  length = length - low
end

local wanted = tonumber(ARGV[4]) + 1
local most_wanted = tonumber(ARGV[5])
local function first_index()
  return math.max(wanted - t.offset + length - 1, length - t.most, 0)
end
local next = first_index()
if next < length and not (is_at_its_place(next) and is_at_its_place(math.min(next + most_wanted, length) - 1)) then
  mend()
  next = first_index()
end
local page = { pack_top(t), math.max(t.offset - length, t.offset - t.most) + 1 }
local left = most_wanted
local bytes = tonumber(ARGV[6])
while left > 0 and bytes > 0 and next < length do
  local entries = redis.call('LRANGE', KEYS[2], next, next + math.min(left, 32) - 1)
  for i = 1, #entries do
    page[#page + 1] = entries[i]
    left = left - 1
    bytes = bytes - #entries[i]
    if bytes <= 0 then
      break
    end
  end
  next = next + #entries
end
return page

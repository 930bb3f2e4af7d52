-- A page of a channel's log, and where the channel stands. For what can't be read with plain commands: a channel that
-- is unused or has lost something, messages that are too old or so large that their bytes must be counted, lifetimes
-- that have to be set again. Behind channel.lua and look.lua.
--
-- KEYS  look.lua
-- ARGV  1 to 3 look.lua, 4 read after this offset, 5 most messages, 6 stop after this many bytes
-- Returns {top, lowest offset that is kept, milliseconds, entries of the list …}; for an unused channel {'', origin,
--          milliseconds}.

local t, now, _, origin = look()
if not t then
  return { '', origin, now }
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
local page = { pack_top(t), math.max(t.offset - length, t.offset - t.most) + 1, now }
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

-- Keeps messages that are sent later, and rings where one is due before all others.
--
-- KEYS  schedule.lua
-- ARGV  1 PUBLISH or SPUBLISH, 2 channel on the bus, 3 most items there may be (0: no limit), then for each message: id,
--       token, at, and its item behind the token
-- Returns for each message: at and 0; at and 1 where one with this id and another token was there; {} where there are too
-- many; or an error.

local most = tonumber(ARGV[3])
local count = call('HLEN', ITEMS)
local first = call('ZRANGE', WHEN, 0, 0, 'WITHSCORES')
local earliest = first[2] and tonumber(first[2])

local function add(id, token, at, rest)
  local known = call('HGET', ITEMS, id)
  if known then
    return { struct.unpack('>I6', known), sub(known, 13, 28) == token and 0 or 1 }
  end
  if most > 0 and count >= most then
    return {}
  end
  local head = struct.pack('>I6I6', at, call('INCR', NUMBER))
  local item = head .. token .. rest
  call('ZADD', OF .. channel_of(item), 0, head .. id)
  call('ZADD', WHEN, at, head .. id)
  call('HSET', ITEMS, id, item)
  count = count + 1
  return { at, 0 }
end

local replies, is_early = {}, false
for i = 4, #ARGV, 4 do
  local at = tonumber(ARGV[i + 2])
  local done, reply = pcall(add, ARGV[i], ARGV[i + 1], at, ARGV[i + 3])
  replies[#replies + 1] = done and reply or failure(reply)
  if not earliest or at < earliest then
    earliest, is_early = at, true
  end
end
if is_early then
  redis.pcall(ARGV[1], ARGV[2], '')
end
return replies

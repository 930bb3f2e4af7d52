-- Moves a device's cursor forward and tells the channel's subscribers.
--
-- KEYS  1 top, 2 list (channel.lua), 3 devices (hash of device to '<expires> <epoch> <offset> <id>')
-- ARGV  1 device, 2 epoch, 3 offset, 4 id, 5 milliseconds to keep it, 6 most devices to keep,
--       7 PUBLISH or SPUBLISH, 8 channel on the bus, 9 magic of an acknowledgement doorbell
-- Returns 1 if the cursor moved.

local found = redis.call('GET', KEYS[1])
if not found then
  return 0
end
local t = unpack_top(found)
local offset = tonumber(ARGV[3])
if t.epoch ~= ARGV[2] or offset > t.offset then
  return 0
end
-- What was never sent can't have been received. A message that is not kept any more is believed.
local id = t.id
if offset < t.offset then
  local entry = redis.call('LINDEX', KEYS[2], offset - t.offset - 1)
  local at, there = string.match(entry or '', '^(%d+) %d+ (%S+)')
  id = tonumber(at) == offset and there or ARGV[4]
end
if id ~= ARGV[4] then
  return 0
end

local now = clock()
local ttl = tonumber(ARGV[5])
local known = redis.call('HGET', KEYS[3], ARGV[1])
if known then
  local expires, epoch, at = known:match('^(%d+) (%S+) (%d+)')
  if expires and tonumber(expires) > now and epoch == ARGV[2] and tonumber(at) >= offset then
    return 0
  end
end

local position = ARGV[2] .. ' ' .. offset .. ' ' .. ARGV[4]
redis.call('HSET', KEYS[3], ARGV[1], (now + ttl) .. ' ' .. position)
if not known and redis.call('HLEN', KEYS[3]) > tonumber(ARGV[6]) then
  -- Devices come and go, and anybody can make them up: the one that was heard of least lately makes room. There are
  -- never more than a few over the limit, so this takes the same time however many there were.
  local all = redis.call('HGETALL', KEYS[3])
  local oldest, expired
  for i = 1, #all, 2 do
    local expires = tonumber(all[i + 1]:match('^%d+')) or 0
    if all[i] ~= ARGV[1] and (not oldest or expires < oldest) then
      oldest, expired = expires, all[i]
    end
  end
  redis.call('HDEL', KEYS[3], expired)
end
if redis.call('PTTL', KEYS[3]) < ttl then
  redis.call('PEXPIRE', KEYS[3], math.floor(ttl * 1.25) + 1)
end
redis.call(ARGV[7], ARGV[8], ARGV[9] .. position .. '\n' .. ARGV[1])
return 1

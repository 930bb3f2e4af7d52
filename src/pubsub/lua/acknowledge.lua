-- Moves a device's cursor forward and tells the channel's subscribers.
--
-- KEYS  1 meta (hash), 2 cursors (hash of device to '<expires> <epoch> <offset> <id>')
-- ARGV  1 device, 2 epoch, 3 offset, 4 id, 5 milliseconds to keep it, 6 PUBLISH or SPUBLISH, 7 channel on the
--       bus, 8 magic of an acknowledgement doorbell
-- Returns 1 if the cursor moved.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
if meta[1] ~= ARGV[2] or tonumber(ARGV[3]) > tonumber(meta[2]) then
  return 0
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then
  local expires, epoch, offset = known:match('^(%d+) (%S+) (%d+)')
  if tonumber(expires) > now and epoch == ARGV[2] and tonumber(offset) >= tonumber(ARGV[3]) then
    return 0
  end
elseif redis.call('HLEN', KEYS[2]) >= 64 then
  -- Devices come and go: those whose time is over make room.
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]:match('^%d+')) <= now then
      redis.call('HDEL', KEYS[2], all[i])
    end
  end
end

local position = ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f ', now + ARGV[5]) .. position)
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
redis.call(ARGV[6], ARGV[7], ARGV[8] .. position .. '\n' .. ARGV[1])
return 1

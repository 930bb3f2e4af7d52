-- Moves cursors of devices forward and tells the channels' subscribers.
--
-- KEYS  for each cursor: top, list (channel.lua), devices (hash of device to '<expires> <epoch> <offset> <id>')
-- ARGV  1 most devices of a channel to keep, 2 PUBLISH or SPUBLISH, 3 magic of an acknowledgement doorbell,
--       4 milliseconds to keep them; then for each cursor: device, '<epoch> <offset> <id>', channel on the bus
-- Returns for each cursor 1 if it moved, 0 if not, or an error: what is wrong with one channel leaves the others alone.

local most, ring, magic, ttl = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = clock()

local function move(top, list, devices, device, position, bus)
  local found = redis_call('GET', top)
  local epoch, at, id = position:match('^(%S+) (%d+) (.*)$')
  if not found or not epoch then
    return 0
  end
  local t = unpack_top(found)
  local offset = tonumber(at)
  if t.epoch ~= epoch or offset > t.offset then
    return 0
  end
  -- What was never sent can't have been received. A message that is not kept any more is believed.
  local there = t.id
  if offset < t.offset then
    local entry = redis_call('LINDEX', list, offset - t.offset - 1)
    local its_offset, its_id = string.match(entry or '', '^(%d+) %d+ (%S+)')
    there = tonumber(its_offset) == offset and its_id or id
  end
  if there ~= id then
    return 0
  end

  local known = redis_call('HGET', devices, device)
  if known then
    local expires, its_epoch, its_offset = known:match('^(%d+) (%S+) (%d+)')
    if expires and tonumber(expires) > now and its_epoch == epoch and tonumber(its_offset) >= offset then
      return 0
    end
  end

  redis_call('HSET', devices, device, (now + ttl) .. ' ' .. position)
  if not known and redis_call('HLEN', devices) > most then
    -- Devices come and go, and anybody can make them up: the one that was heard of least lately makes room. There are
    -- never more than a few over the limit, so this takes the same time however many there were.
    local all = redis_call('HGETALL', devices)
    local oldest, expired
    for i = 1, #all, 2 do
      local expires = tonumber(all[i + 1]:match('^%d+')) or 0
      if all[i] ~= device and (not oldest or expires < oldest) then
        oldest, expired = expires, all[i]
      end
    end
    redis_call('HDEL', devices, expired)
  end
  if redis_call('PTTL', devices) < ttl then
    redis_call('PEXPIRE', devices, math.floor(ttl * 1.25) + 1)
  end
  redis_call(ring, bus, magic .. position .. '\n' .. device)
  return 1
end

local replies = {}
for i = 1, #KEYS / 3 do
  local key, at = 3 * i, 3 * i + 2
  local done, reply =
    pcall(move, KEYS[key - 2], KEYS[key - 1], KEYS[key], ARGV[at], ARGV[at + 1], ARGV[at + 2])
  if not done then
    reply = failure(reply)
    if not (reply.err:match('^ERR ') or reply.err:match('^WRONGTYPE ')) then
      -- It is the server that refuses, and so it does with all of them.
      return reply
    end
  end
  replies[i] = reply
end
return replies

-- Hands out what is due, by the clock of this server and that of who asks, to the one that has the lease; and renews it.
--
-- KEYS  schedule.lua
-- ARGV  1 who asks, a point and a number, which is another one whenever he may not know what he was given;
--       2 milliseconds since 1970 by his clock, 3 milliseconds of the lease, 4 most items, 5 most bytes (one item may be
--       more)
-- Returns { 'other', milliseconds that another one's lease lasts }; { 'none' } where nothing is scheduled at all, and the
-- lease is nobody's; or { 'held', milliseconds by this server's clock, when the next one is due (empty: none), then by
-- turns id and item }.

-- Items that are looked at in one call: those of channels that are held are put off.
local MOST_LOOKS = 1000
-- Longer than anything is held, in milliseconds: if it is, this server's clock was set back.
local LONGEST = 600000

local me, lease = ARGV[1], tonumber(ARGV[3])
local time = clock()
local now = math.min(time, tonumber(ARGV[2]))
local holder = call('GET', LEASE)
local function who(name)
  return string.match(name, '^[^.]*')
end
if holder and who(holder) ~= who(me) then
  local left = call('PTTL', LEASE)
  if left >= 0 and left <= 2 * lease then
    return { 'other', left }
  end
  -- Longer than any lease: the clock was set back.
end
if holder ~= me then
  -- What was handed out before may have been stored.
  for _, member in ipairs(call('ZRANGE', TAKEN, 0, -1)) do
    call('ZADD', WHEN, (struct.unpack('>I6', member)), member)
    call('ZADD', TRIED, 0, sub(member, 13))
  end
  call('DEL', TAKEN)
end
if call('ZCARD', WHEN) == 0 and call('ZCARD', TAKEN) == 0 then
  call('DEL', LEASE, HELD, TRIED)
  return { 'none' }
end
call('SET', LEASE, me, 'PX', lease)

local reply, looks, bytes = { 'held', time, '' }, 0, 0
local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local count = 0

-- Puts an item off whose channel is held, also where that is over by now: what it was held for stands at its end, and is
-- not to be overtaken. Returns when it is due then.
local function put_off(member, item, due)
  local channel = channel_of(item)
  local till, tries = string.match(channel and call('HGET', HELD, channel) or '', '^(%d+) (%d+)$')
  till = tonumber(till)
  if not till then
    return
  end
  if till > due and till <= time + LONGEST then
    call('ZADD', WHEN, till, member)
    return till
  end
  if till < due and tries == '0' then
    call('HDEL', HELD, channel)
  end
end

local function hand_out(member, id, item)
  call('ZREM', WHEN, member)
  call('ZADD', TAKEN, 0, member)
  reply[#reply + 1] = id
  reply[#reply + 1] = item
  count = count + 1
  bytes = bytes + #item
end

while count < most and bytes < most_bytes and looks < MOST_LOOKS do
  local due = call('ZRANGEBYSCORE', WHEN, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most - count)
  if #due == 0 then
    break
  end
  for i = 1, #due, 2 do
    if bytes >= most_bytes then
      break
    end
    looks = looks + 1
    local member = due[i]
    local id = sub(member, 13)
    local item = call('HGET', ITEMS, id)
    if item then
      local till = put_off(member, item, tonumber(due[i + 1]))
      if not till then
        hand_out(member, id, item)
      elseif till <= now then
        -- Its place is among those that follow.
        break
      end
    else
      call('ZREM', WHEN, member)
    end
  end
end
local next_one = call('ZRANGE', WHEN, 0, 0, 'WITHSCORES')
reply[3] = next_one[2] or ''
return reply

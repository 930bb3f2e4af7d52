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

local function hand_out(member)
  local id = sub(member, 13)
  local item = call('HGET', ITEMS, id)
  if not item then
    call('ZREM', WHEN, member)
    return
  end
  local channel = channel_of(item)
  local held = channel and call('HGET', HELD, channel)
  local till = held and tonumber(string.match(held, '^%d+'))
  if till and till > time and till <= time + LONGEST then
    call('ZADD', WHEN, till, member)
    return
  end
  call('ZREM', WHEN, member)
  call('ZADD', TAKEN, 0, member)
  reply[#reply + 1] = id
  reply[#reply + 1] = item
  count = count + 1
  bytes = bytes + #item
end

while count < most and bytes < most_bytes and looks < MOST_LOOKS do
  local due = call('ZRANGEBYSCORE', WHEN, '-inf', now, 'LIMIT', 0, most - count)
  if #due == 0 then
    break
  end
  for _, member in ipairs(due) do
    if bytes >= most_bytes then
      break
    end
    looks = looks + 1
    hand_out(member)
  end
end
local next_one = call('ZRANGE', WHEN, 0, 0, 'WITHSCORES')
reply[3] = next_one[2] or ''
return reply

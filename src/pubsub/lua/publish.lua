-- Appends a message to a channel's log, assigns its offset and rings the doorbell, in one step.
--
-- KEYS  1 meta (hash), 2 log (stream), 3 the idempotency key's receipt (string), if one was given
-- ARGV  1 epoch, should the channel have none, 2 id, 3 kind, 4 payload, 5 most messages to keep, 6 milliseconds
--       to keep them, 7 milliseconds to keep the receipt, 8 milliseconds that an idle channel keeps its epoch,
--       9 PUBLISH or SPUBLISH, 10 channel on the bus, 11 magic of a message doorbell,
--       12 epoch, 13 offset, 14 id of a message that the log is known to have had
-- Returns '0 <epoch> <offset> <id>', or '1 <epoch> <offset> <id>' of the first time for a known key.

if KEYS[3] then
  local receipt = redis.call('GET', KEYS[3])
  if receipt then
    -- Of Redis 7.2 and later WAIT is only about what its own connection has written: this write comes behind the
    -- first copy, so whoever confirms it has that as well.
    redis.call('SET', KEYS[3], receipt, 'KEEPTTL')
    return '1 ' .. receipt
  end
end

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'time', 'head', 'id')
local epoch = meta[1]
local offset = 1
local time = now()
local head = time
if epoch then
  offset = meta[2] + 1
  if has_rewound(epoch, tonumber(meta[2]), meta[5], ARGV[12], tonumber(ARGV[13]), ARGV[14]) then
    epoch = ARGV[1]
  end
  -- A clock that steps back must not make a younger message look older than its elders.
  time = math.max(time, tonumber(meta[3]))
  head = math.min(tonumber(meta[4]) or math.huge, time)
else
  epoch = ARGV[1]
  -- A log without its meta (evicted, say) can't be told apart from one that lost messages: begin anew.
  redis.call('DEL', KEYS[2])
end

local age = tonumber(ARGV[6])
local position = string.format('%.0f', offset)
local stamp = string.format('%.0f', time)
head = math.min(trim(KEYS[2], head, time - age), time)
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[5], position .. '-0', 'i', ARGV[2], 't', stamp, 'k', ARGV[3], 'd', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', position, 'id', ARGV[2], 'time', stamp,
  'head', string.format('%.0f', head), 'age', ARGV[6])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(ARGV[8]), age, tonumber(ARGV[7]))))

local receipt = epoch .. ' ' .. position .. ' ' .. ARGV[2]
if KEYS[3] then
  redis.call('SET', KEYS[3], receipt, 'PX', ARGV[7])
end
redis.call(ARGV[9], ARGV[10], ARGV[11] .. receipt .. ' ' .. stamp .. ' ' .. ARGV[3] .. '\n' .. ARGV[4])
return '0 ' .. receipt

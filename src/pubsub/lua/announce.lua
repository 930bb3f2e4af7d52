-- Makes sessions of one user visible for a time.
--
-- KEYS  1 presence (hash of session to '<expires> <entry as JSON>')
-- ARGV  1 milliseconds, then session and entry by turns

local time = redis.call('TIME')
local expires = string.format('%.0f ', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], expires .. ARGV[i + 1])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return redis.status_reply('OK')

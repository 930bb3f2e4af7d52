-- The fields of a hash whose values begin with the time they expire; those whose time is over are removed.
--
-- KEYS  1 the hash
-- Returns {field, value without its time, …}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
local live = {}
for i = 1, #all, 2 do
  local expires, value = all[i + 1]:match('^(%d+) (.*)$')
  if expires and tonumber(expires) > now then
    live[#live + 1] = all[i]
    live[#live + 1] = value
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return live

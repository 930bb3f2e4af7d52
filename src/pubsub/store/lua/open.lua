-- What pages need that open: where their channels stand, and what their devices have. Any number of channels at once.
--
-- KEYS  1 origin (string, four characters), then for each channel: top, list (channel.lua), devices (acknowledge.lua)
-- ARGV  1 twelve characters by chance
-- Returns the origin or an error, and milliseconds: '' and 0 unless a channel has no top; then for each channel its top or
-- the length of its list, or an error, and its devices as HGETALL gives them, or an error.
-- Nothing is written but the origin, once: looking at a channel creates nothing that lasts.

local call = redis.pcall
local replies = { '', 0 }
local is_unused = false
for i = 2, #KEYS, 3 do
  local top, length = call('GET', KEYS[i]), call('LLEN', KEYS[i + 1])
  if not top then
    is_unused = true
  end
  if not top or type(length) == 'table' then
    top = length
  end
  replies[#replies + 1] = top
  replies[#replies + 1] = call('HGETALL', KEYS[i + 2])
end
if is_unused then
  local origin, time = call('GET', KEYS[1]), redis.call('TIME')
  if not origin then
    origin = ARGV[1]:sub(9, 12)
    local done = call('SET', KEYS[1], origin)
    origin = done.err and done or origin
  elseif type(origin) == 'table' or #origin ~= 4 then
    origin = { err = 'ERR what is kept at ' .. KEYS[1] .. ' is no origin of a store' }
  end
  replies[1] = origin
  replies[2] = time[1] * 1000 + math.floor(time[2] / 1000)
end
return replies

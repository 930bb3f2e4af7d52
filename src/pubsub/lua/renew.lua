-- Gives a channel another epoch if its log has rewound (see rewind.lua), even where others have gone on since.
--
-- KEYS  1 meta (hash), 2 log (stream)
-- ARGV  1 epoch, 2 offset, 3 id of a message that the log is known to have had, 4 the other epoch
-- Returns 1 if it did; 0 if the message is there, or if that can't be said any more.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id')
if meta[1] ~= ARGV[1] then
  return 0
end
local offset = tonumber(ARGV[2])
local top = tonumber(meta[2])
local rewound = has_rewound(meta[1], top, meta[3], ARGV[1], offset, ARGV[3])
if offset < top then
  local entry = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
  rewound = entry and entry[2][2] ~= ARGV[3]
end
if not rewound then
  return 0
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[4])
return 1

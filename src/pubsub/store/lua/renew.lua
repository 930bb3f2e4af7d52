-- Gives a channel another epoch if its log has rewound (channel.lua), even where others have gone on since.
--
-- KEYS  1 top, 2 list (channel.lua), 3 origin (string)
-- ARGV  1 twelve characters by chance, 2 milliseconds that an idle channel is remembered,
--       3 a message that the log is known to have had (channel.lua)
-- Returns 1 if it did; 0 if the message is there, or if that can't be said any more.

local found = redis.call('GET', KEYS[1])
local origin = origin_of(ARGV[1], KEYS[3])
if not found then
  if not has_lost(ARGV[3], origin) then
    return 0
  end
  -- All of it is gone: whoever found it unused before has missed what was lost.
  save_anew(ARGV[1], origin, KEYS[1], clock(), tonumber(ARGV[2]))
  redis.call('DEL', KEYS[2])
  return 1
end

local t = unpack_top(found)
local known = ARGV[3]
if known:sub(1, 23) ~= t.epoch then
  return 0
end
local rewound = has_rewound(found, known)
local offset = unpack_fields('>I6', known, 40)
if offset < t.offset then
  local entry = redis.call('LINDEX', KEYS[2], offset - t.offset - 1)
  local at, id = string.match(entry or '', '^(%d+) %d+ (%S+)')
  rewound = tonumber(at) == offset and id ~= known:sub(24, 39)
end
if not rewound then
  return 0
end
t.epoch = new_epoch(ARGV[1], origin)
save(t, KEYS[1], true)
return 1

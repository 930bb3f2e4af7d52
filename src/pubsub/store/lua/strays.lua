-- Entries of the intake stream that were read and are nobody's: acknowledged and, as somebody died in between, not
-- deleted; or of a consumer that somebody removed.
--
-- KEYS  1 the stream
-- ARGV  1 the group, 2 how many entries to look at
-- Returns their ids.

local last
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local about = {}
  for i = 1, #group, 2 do
    about[group[i]] = group[i + 1]
  end
  if about.name == ARGV[1] then
    last = about['last-delivered-id']
  end
end
local strays = {}
if last then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', last, 'COUNT', ARGV[2])) do
    if #redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1) == 0 then
      strays[#strays + 1] = entry[1]
    end
  end
end
return strays

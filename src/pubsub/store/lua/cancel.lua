-- Removes an item, unless it is being sent or may have been.
--
-- KEYS  schedule.lua
-- ARGV  1 id
-- Returns 1, or 0 where there is none that can be.

local id = ARGV[1]
local item = call('HGET', ITEMS, id)
if not item or call('ZSCORE', TAKEN, member_of(item, id)) or call('ZSCORE', TRIED, id) then
  return 0
end
remove(id)
return 1

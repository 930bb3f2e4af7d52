-- Shared beginning of publish.lua and read.lua: the age bound of a channel's log.

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Removes entries stored at or before `oldest` from the head of the log; `head` is a time that no entry is
-- older than. Returns such a time again. Bounded, so that one call never holds up Redis: a channel that has
-- fallen behind catches up with the next calls.
local function trim(log, head, oldest)
  if head > oldest then
    return head
  end
  for _ = 1, 100 do
    local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    if not first then
      return math.huge
    end
    head = tonumber(first[2][4])
    if head > oldest then
      return head
    end
    redis.call('XTRIM', log, 'MINID', string.format('%.0f-0', tonumber(first[1]:match('^%d+')) + 1))
  end
  return head
end

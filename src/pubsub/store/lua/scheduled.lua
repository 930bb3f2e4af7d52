-- Lists what is scheduled, the latest first, without what is being sent.
--
-- KEYS  schedule.lua
-- ARGV  1 channel (empty: all), 2 most items, 3 most bytes (one item may be more), then where to begin, exclusively: 4 when
--       it is to be handed out, 5 at, 6 number; empty: at the end
-- Returns { how many there are in all, 1 where there are more on this list or 0, then by turns id, when, item }.

local channel, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local from, at, number = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local reply, bytes, count, is_full = { call('HLEN', ITEMS), 0 }, 0, 0, false

local function list(member, when)
  local id = sub(member, 13)
  local item = call('HGET', ITEMS, id)
  if not item then
    return
  end
  if count >= most or bytes >= most_bytes then
    is_full = true
    return
  end
  count = count + 1
  bytes = bytes + #item
  reply[#reply + 1] = id
  reply[#reply + 1] = when
  reply[#reply + 1] = item
end

-- How many of `when` are before the place where the list begins. Of those at one moment, by their numbers.
local function before()
  if not from then
    return call('ZCARD', WHEN)
  end
  local low, high = call('ZCOUNT', WHEN, '-inf', '(' .. ARGV[4]), call('ZCOUNT', WHEN, '-inf', ARGV[4])
  while low < high do
    local middle = math.floor((low + high) / 2)
    local own_at, own_number = struct.unpack('>I6I6', call('ZRANGE', WHEN, middle, middle)[1])
    if own_at < at or (own_at == at and own_number < number) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

if channel == '' then
  local last = before() - 1
  while last >= 0 and not is_full do
    local part = call('ZRANGE', WHEN, math.max(0, last - 63), last, 'WITHSCORES')
    for i = #part - 1, 1, -2 do
      list(part[i], part[i + 1])
      if is_full then
        break
      end
    end
    last = last - 64
  end
else
  local top = from and '(' .. struct.pack('>I6I6', at, number) or '+'
  while not is_full do
    local part = call('ZREVRANGEBYLEX', OF .. channel, top, '-', 'LIMIT', 0, 64)
    if #part == 0 then
      break
    end
    for _, member in ipairs(part) do
      local when = call('ZSCORE', WHEN, member)
      if when then
        list(member, when)
      end
      if is_full then
        break
      end
    end
    top = '(' .. part[#part]
  end
end
reply[2] = is_full and 1 or 0
return reply

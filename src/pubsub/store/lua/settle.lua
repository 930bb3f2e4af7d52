-- Says what became of items that were handed out.
--
-- KEYS  schedule.lua
-- ARGV  1 who says it, 2 most failed ones that are kept, 3 whether he gives the lease back (1 or 0), then for each: what
--       became of it, its id, and more:
--         stored   -
--         failed   what to list, as JSON
--         held     milliseconds for which nothing of its channel is handed out, twice as many each time that it was held
--                  before; nothing was stored
--         unknown  the same where it may have been stored
--         back     -; it is handed out again in its place
--       Those that go back do so only if he has the lease: otherwise they were taken from him.

-- Milliseconds that a channel is held at the most.
local LONGEST = 60000

local is_mine = call('GET', LEASE) == ARGV[1]
local time = clock()

-- Until when the channel is held.
local function hold(channel, milliseconds)
  local till, tries = string.match(call('HGET', HELD, channel) or '', '^(%d+) (%d+)$')
  if till and tonumber(till) > time then
    return tonumber(till)
  end
  tries = math.min(tonumber(tries or 0), 16)
  till = time + math.min(milliseconds * 2 ^ tries, LONGEST)
  call('HSET', HELD, channel, string.format('%.0f %d', till, tries + 1))
  return till
end

local function put_back(what, id, milliseconds)
  local item = call('HGET', ITEMS, id)
  local member = item and member_of(item, id)
  if not member or not call('ZSCORE', TAKEN, member) then
    return
  end
  local score = struct.unpack('>I6', member)
  local channel = channel_of(item)
  if what ~= 'back' and channel then
    score = hold(channel, milliseconds)
  end
  call('ZREM', TAKEN, member)
  call('ZADD', WHEN, score, member)
  if what == 'unknown' then
    call('ZADD', TRIED, 0, id)
  end
end

for i = 4, #ARGV, 3 do
  local what, id, more = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if what == 'stored' or what == 'failed' then
    local item = call('HGET', ITEMS, id)
    local channel = item and channel_of(item)
    local till = channel and string.match(call('HGET', HELD, channel) or '', '^%d+')
    if till then
      call('HSET', HELD, channel, till .. ' 0')
    end
    remove(id)
    if what == 'failed' and item then
      redis.pcall('LPUSH', FAILED, more)
      redis.pcall('LTRIM', FAILED, 0, ARGV[2] - 1)
    end
  elseif is_mine then
    put_back(what, id, tonumber(more))
  end
end
if is_mine and ARGV[3] == '1' then
  call('DEL', LEASE)
end

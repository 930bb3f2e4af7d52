-- Shared beginning of later.lua, take.lua, settle.lua, cancel.lua and scheduled.lua: messages that are sent later.
--
-- items   hash: id -> item, which is: at and number (6 bytes each, big-endian), token of who has added it (16), channel,
--           a line feed, in JSON how it is to be stored, a line feed, the data. `at` is milliseconds since 1970; numbers
--           count what was ever added.
-- when    sorted set of what is to be handed out: at, number, id -> milliseconds since 1970 from which on
-- taken   sorted set, in the same form, of what was handed out under the lease and has no outcome yet
-- tried   sorted set of ids of what may have been stored although nobody knows: it can't be cancelled any more
-- held    hash: channel -> until when nothing of it is handed out, and how often that was put off
-- lease   string: who is handed out messages, as long as his lease lasts
-- failed  list of what could never be stored, newest first, as JSON
-- number  string: of the newest item
-- of:…    one sorted set for each channel that has any: at, number, id, all with one score
--
-- KEYS    1 items, 2 when, 3 taken, 4 tried, 5 held, 6 lease, 7 failed, 8 number, 9 what begins the keys of channels

local call, sub = redis.call, string.sub
local ITEMS, WHEN, TAKEN, TRIED, HELD, LEASE, FAILED, NUMBER, OF = unpack(KEYS)

local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function member_of(item, id)
  return sub(item, 1, 12) .. id
end

-- `nil` for an item that is none.
local function channel_of(item)
  local finish = #item > 28 and string.find(item, '\n', 29, true)
  return finish and sub(item, 29, finish - 1)
end

-- What `pcall` caught, as a reply.
local function failure(reason)
  local text = type(reason) == 'table' and reason.err or tostring(reason)
  return { err = text:match('^%u%u+ ') and text or 'ERR ' .. text }
end

local function remove(id)
  local item = call('HGET', ITEMS, id)
  if not item then
    return
  end
  local member, channel = member_of(item, id), channel_of(item)
  call('ZREM', WHEN, member)
  call('ZREM', TAKEN, member)
  call('ZREM', TRIED, id)
  call('HDEL', ITEMS, id)
  if channel then
    -- Where somebody has damaged the index, the item is gone nevertheless.
    redis.pcall('ZREM', OF .. channel, member)
  end
end

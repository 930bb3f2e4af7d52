-- Shared beginning of the other scripts: what is kept of a channel.
--
-- top   string, 83 bytes: where the channel stands.
--         epoch   23  eight characters by chance, four of the store's origin, eleven hexadecimal digits: milliseconds;
--                     who found the channel unused after that moment has missed nothing of this epoch (epochs.ts)
--         age      6  milliseconds that messages are kept (big-endian, as all numbers)
--         most     4  most messages that are kept
--         keep     6  milliseconds that this string outlives its last use
--         renew    6  when the lifetimes of the keys have to be set again
--         head     6  no message that is kept was stored before
--         big      4  bytes of the largest entry that the list has had
--         id      16  of the newest message
--         offset   6  of the newest message
--         time     6  of the newest message
-- list  list of the newest messages, oldest first: '<offset> <time> <id> <kind>[ <milliseconds that it
--       lives>][ <name>=<value> …]\n<payload>'; fields with a name that is not known are passed over. It has up to an eighth
--       more than `most`, so that trimming is rare, and some that are older than `age`: whoever reads leaves them out.
--
-- Lifetimes are set to 1.25 times what is promised, and set again once a quarter of that is over.

local FIELDS = '>I6I4I6I6I6I4c16I6I6'
local NEVER = 'fffffffffff'
local redis_call, sub = redis.call, string.sub
local pack, unpack_fields = struct.pack, struct.unpack

local function clock()
  local time = redis_call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What `pcall` caught, as a reply.
local function failure(reason)
  local text = type(reason) == 'table' and reason.err or tostring(reason)
  return { err = text:match('^%u%u+ ') and text or 'ERR ' .. text }
end

local function check_top(top)
  if #top ~= 83 then
    error('a string that is no position of a channel', 0)
  end
end

local function unpack_top(top)
  check_top(top)
  local age, most, keep, renew, head, big, id, offset, time = unpack_fields(FIELDS, top, 24)
  return {
    epoch = sub(top, 1, 23), age = age, most = most, keep = keep, renew = renew, head = head, big = big,
    id = id, offset = offset, time = time,
  }
end

local function pack_top(t)
  return t.epoch .. pack(FIELDS, t.age, t.most, t.keep, t.renew, t.head, t.big, t.id, t.offset, t.time)
end

-- The store's origin. `start`: eight characters by chance for an epoch, then four for an origin, should there be none.
local function origin_of(start, origin_key)
  local origin = redis.pcall('GET', origin_key)
  if origin and (type(origin) == 'table' or #origin ~= 4) then
    error('what is kept at ' .. origin_key .. ' is no origin of a store', 0)
  end
  if not origin then
    origin = sub(start, 9, 12)
    redis_call('SET', origin_key, origin)
  end
  return origin
end

-- Whether a channel that nothing is kept of has lost something: a message is known to have been there, and that in this
-- store. Of another one, nobody can find the channel unused and be deceived: its origin is not the same.
local function has_lost(known, origin)
  return known ~= '' and sub(known, 9, 12) == origin
end

-- The epoch of a channel that begins at `now`, or with `now` nil, that begins anew after a loss.
local function new_epoch(start, origin, now, idle)
  return sub(start, 1, 8) .. origin .. (now and string.format('%011x', math.max(0, now - idle)) or NEVER)
end

-- `known`: epoch (23), id (16) and offset (6, big-endian) of a message that the log is known to have had, or ''. The
-- numbers alone would count again and be taken for the same messages, so a log that has rewound gets another epoch:
-- everybody who stands in the old one is told, those included who were behind the loss and could not tell by their own
-- positions.
local function has_rewound(top, known)
  if known == '' or sub(known, 1, 23) ~= sub(top, 1, 23) then
    return false
  end
  if sub(known, 24) == sub(top, 56, 77) then
    return false
  end
  local offset, stands = unpack_fields('>I6', known, 40), unpack_fields('>I6', top, 72)
  return offset >= stands
end

local function time_of(entry)
  return tonumber(entry:match('^%d+ (%d+) '))
end

-- Removes what was stored at or before `oldest`. Returns the time of the oldest message that is left.
local function age_out(list, oldest)
  local head = redis.call('LINDEX', list, 0)
  if not head or time_of(head) > oldest then
    return head and time_of(head) or oldest + 1
  end
  local low, high = 1, redis.call('LLEN', list)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if time_of(redis.call('LINDEX', list, middle)) <= oldest then
      low = middle + 1
    else
      high = middle
    end
  end
  redis.call('LTRIM', list, low, -1)
  head = redis.call('LINDEX', list, 0)
  return head and time_of(head) or oldest + 1
end

-- Sets the list's lifetime, and removes what is too old. `save` sets the top's.
local function renew(t, list, now)
  redis.call('PEXPIRE', list, math.floor(t.age * 1.25) + 1)
  t.head = age_out(list, now - t.age)
  t.renew = now + math.floor(math.min(t.age, t.keep) / 4)
end

-- In place, where the lifetime stays.
local function save(t, top_key, is_there, is_renewed)
  if is_there then
    redis.call('SETRANGE', top_key, 0, pack_top(t))
    if is_renewed then
      redis.call('PEXPIRE', top_key, math.floor(t.keep * 1.25) + 1)
    end
  else
    redis.call('SET', top_key, pack_top(t), 'PX', math.floor(t.keep * 1.25) + 1)
  end
end

-- For a channel that nothing is kept of although something was.
local function save_anew(start, origin, top_key, now, idle)
  local t = {
    epoch = new_epoch(start, origin), age = 0, most = 0, keep = idle, renew = 0, head = now, big = 0,
    id = (' '):rep(16), offset = 0, time = 0,
  }
  save(t, top_key, false)
  return t
end

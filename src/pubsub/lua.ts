/** The text of the Lua scripts, made of lua/*.lua by `npm run lua`. */
export const lua = {
  acknowledge: `-- Moves a device's cursor forward and tells the channel's subscribers.
--
-- KEYS  1 meta (hash), 2 cursors (hash of device to '<expires> <epoch> <offset> <id>')
-- ARGV  1 device, 2 epoch, 3 offset, 4 id, 5 milliseconds to keep it, 6 PUBLISH or SPUBLISH, 7 channel on the
--       bus, 8 magic of an acknowledgement doorbell
-- Returns 1 if the cursor moved.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
if meta[1] ~= ARGV[2] or tonumber(ARGV[3]) > tonumber(meta[2]) then
  return 0
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then
  local expires, epoch, offset = known:match('^(%d+) (%S+) (%d+)')
  if tonumber(expires) > now and epoch == ARGV[2] and tonumber(offset) >= tonumber(ARGV[3]) then
    return 0
  end
elseif redis.call('HLEN', KEYS[2]) >= 64 then
  -- Devices come and go: those whose time is over make room.
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]:match('^%d+')) <= now then
      redis.call('HDEL', KEYS[2], all[i])
    end
  end
end

local position = ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f ', now + ARGV[5]) .. position)
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
redis.call(ARGV[6], ARGV[7], ARGV[8] .. position .. '\\n' .. ARGV[1])
return 1
`,
  announce: `-- Makes sessions of one user visible for a time.
--
-- KEYS  1 presence (hash of session to '<expires> <entry as JSON>')
-- ARGV  1 milliseconds, then session and entry by turns

local time = redis.call('TIME')
local expires = string.format('%.0f ', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], expires .. ARGV[i + 1])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return redis.status_reply('OK')
`,
  finish: `-- Ends entries of the intake stream, in one step: acknowledged without being deleted, they would stay for ever.
--
-- KEYS  1 the stream
-- ARGV  1 the group, then the entries' ids

redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
`,
  live: `-- The fields of a hash whose values begin with the time they expire; those whose time is over are removed.
--
-- KEYS  1 the hash
-- Returns {field, value without its time, …}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
local live = {}
for i = 1, #all, 2 do
  local expires, value = all[i + 1]:match('^(%d+) (.*)$')
  if expires and tonumber(expires) > now then
    live[#live + 1] = all[i]
    live[#live + 1] = value
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return live
`,
  publish: `-- Appends messages to a channel's log, assigns their offsets and rings the doorbell for each, in one step.
--
-- KEYS  1 meta (hash), 2 log (stream), then receipts (strings) of those messages that have an idempotency key
-- ARGV  1 epoch, should the channel have none, 2 milliseconds that an idle channel keeps its epoch,
--       3 PUBLISH or SPUBLISH, 4 channel on the bus, 5 magic of a message doorbell,
--       6 epoch, 7 offset, 8 id of a message that the log is known to have had,
--       then for each message: id, kind (none for what is only handed on, not stored), payload, most messages to
--       keep, milliseconds to keep them, milliseconds to keep the receipt, number of its key or 0
-- Returns for one message, or in a table for each of several: '0 <epoch> <offset> <id>', '1 <epoch> <offset> <id>' of the first time for a known key,
--       '' for what is handed on, or 'E ' and an error that is this message's own. Where the server refuses to
--       write, nothing further is tried: the answer is shorter, or that error.

local epoch, offset, time, head, now_is

local function load()
  now_is = now()
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'time', 'head', 'id')
  if meta[1] then
    if has_rewound(meta[1], tonumber(meta[2]), meta[5], ARGV[6], tonumber(ARGV[7]), ARGV[8]) then
      epoch = ARGV[1]
    else
      epoch = meta[1]
    end
    -- A clock that steps back must not make a younger message look older than its elders.
    time = math.max(now_is, tonumber(meta[3]))
    head = math.min(tonumber(meta[4]) or math.huge, time)
    offset = meta[2] + 0
  else
    -- A log without its meta (evicted, say) can't be told apart from one that lost messages: begin anew. Only where
    -- there is one: a script that has deleted something is not held to maxmemory any more.
    if redis.call('XLEN', KEYS[2]) > 0 then
      redis.call('DEL', KEYS[2])
    end
    epoch = ARGV[1]
    time = now_is
    head = time
    offset = 0
  end
end

local function store(at)
  local id, kind, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if kind == '' then
    redis.call(ARGV[3], ARGV[4], payload)
    return ''
  end
  local key = KEYS[tonumber(ARGV[at + 6])]
  if key then
    local receipt = redis.call('GET', key)
    if receipt then
      return '1 ' .. receipt
    end
  end
  if not offset then
    load()
  end

  local age = tonumber(ARGV[at + 4])
  local position = string.format('%.0f', offset + 1)
  local stamp = string.format('%.0f', time)
  local oldest = math.min(trim(KEYS[2], head, time - age), time)
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[at + 3], position .. '-0', 'i', id, 't', stamp, 'k', kind, 'd', payload)
  offset = offset + 1
  head = oldest
  redis.call('PEXPIRE', KEYS[2], ARGV[at + 4])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', position, 'id', id, 'time', stamp,
    'head', string.format('%.0f', head), 'age', ARGV[at + 4])
  local keep = math.max(tonumber(ARGV[2]), age, tonumber(ARGV[at + 5]))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))

  local receipt = epoch .. ' ' .. position .. ' ' .. id
  if key then
    redis.call('SET', key, receipt, 'PX', ARGV[at + 5])
  end
  redis.call(ARGV[3], ARGV[4], ARGV[5] .. receipt .. ' ' .. stamp .. ' ' .. kind .. '\\n' .. payload)
  return '0 ' .. receipt
end

-- A lone message needs no answer of its own for an error.
if #ARGV == 15 then
  return store(9)
end

local replies = {}
for at = 9, #ARGV, 7 do
  local done, reply = pcall(store, at)
  if not done then
    local text = type(reply) == 'table' and reply.err or tostring(reply)
    if text:match('^%u%u+ ') and not text:match('^WRONGTYPE ') and not text:match('^ERR ') then
      if #replies == 0 then
        return redis.error_reply(text)
      end
      break
    end
    -- The next one, if it can be stored, finds the channel as it is now.
    offset = nil
    reply = 'E ' .. (text:match('^%u%u+ ') and text or 'ERR ' .. text)
  end
  replies[#replies + 1] = reply
end
return replies
`,
  read: `-- A page of a channel's log, and where the channel stands.
--
-- KEYS  1 meta (hash), 2 log (stream)
-- ARGV  1 epoch, should the channel have none, 2 read after this offset, 3 most messages, 4 stop after this many
--       bytes of payload, 5 milliseconds that an idle channel keeps its epoch,
--       6 epoch, 7 offset, 8 id of a message that the log is known to have had
-- Returns {epoch, offset, id, lowest retained offset, then per message: offset, id, time, kind, payload}.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id', 'head', 'age')
if not meta[1] then
  -- Only where there is one: a script that has deleted something is not held to maxmemory any more.
  if redis.call('XLEN', KEYS[2]) > 0 then
    redis.call('DEL', KEYS[2])
  end
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'offset', '0', 'id', '', 'time', '0')
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return { ARGV[1], '0', '', '1' }
end

if has_rewound(meta[1], tonumber(meta[2]), meta[3], ARGV[6], tonumber(ARGV[7]), ARGV[8]) then
  meta[1] = ARGV[1]
  redis.call('HSET', KEYS[1], 'epoch', meta[1])
end

if meta[5] then
  local head = tonumber(meta[4])
  local trimmed = trim(KEYS[2], head, now() - meta[5])
  if trimmed ~= head and trimmed < math.huge then
    redis.call('HSET', KEYS[1], 'head', string.format('%.0f', trimmed))
  end
end
local keep = math.max(tonumber(ARGV[5]), tonumber(meta[5] or 0))
if redis.call('PTTL', KEYS[1]) < keep then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))
end

-- The log has no holes: entries leave it only at its head.
local first = meta[2] - redis.call('XLEN', KEYS[2]) + 1
local page = { meta[1], meta[2], meta[3], string.format('%.0f', first) }
local offset = tonumber(ARGV[2])
local left = tonumber(ARGV[3])
local bytes = tonumber(ARGV[4])
while left > 0 and bytes > 0 do
  local count = math.min(left, 32)
  local entries = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', offset + 1), '+', 'COUNT', count)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    local position = entry[1]:match('^%d+')
    offset = tonumber(position)
    page[#page + 1] = position
    page[#page + 1] = fields[2]
    page[#page + 1] = fields[4]
    page[#page + 1] = fields[6]
    page[#page + 1] = fields[8]
    left = left - 1
    bytes = bytes - #fields[8]
    if bytes <= 0 then
      break
    end
  end
  if #entries < count then
    break
  end
end
return page
`,
  renew: `-- Gives a channel another epoch if its log has rewound (see rewind.lua), even where others have gone on since.
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
`,
  retention: `-- Shared beginning of publish.lua and read.lua: the age bound of a channel's log.

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Removes entries stored at or before \`oldest\` from the head of the log; \`head\` is a time that no entry is
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
`,
  rewind: `-- Shared beginning of publish.lua, read.lua and renew.lua: whether a log has lost acknowledged messages.

-- The log is known to have had the message \`id\` at \`offset\` of \`epoch\`; it stands at \`top\` of \`top_epoch\` now,
-- with \`top_id\` there. The numbers alone would count again and be taken for the same messages, so a log that has
-- rewound gets another epoch: everybody who stands in the old one is told, those included who were behind the loss
-- and could not tell by their own positions.
local function has_rewound(top_epoch, top, top_id, epoch, offset, id)
  if top_epoch ~= epoch or offset == 0 then
    return false
  end
  return offset > top or (offset == top and id ~= top_id)
end
`,
};

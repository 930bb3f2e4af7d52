-- Appends messages to a channel's log, assigns their offsets and rings the doorbell for each, in one step.
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
  redis.call(ARGV[3], ARGV[4], ARGV[5] .. receipt .. ' ' .. stamp .. ' ' .. kind .. '\n' .. payload)
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

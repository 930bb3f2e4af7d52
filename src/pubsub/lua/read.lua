-- A page of a channel's log, and where the channel stands.
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

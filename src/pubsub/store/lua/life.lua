-- Part of publish.lua, behind append.lua: stores a message that expires, or takes the place of an older one. Left out where
-- there is none in the call, so that its functions need not be made.

-- Removes those of a few, taken by chance, whose message is not kept any more. So no call is long, and however many come,
-- no more than about a third is of that kind.
-- `each`: how many values of `some` are about one, the last of which begins with an offset.
local function forget(some, each, t, oldest, command, key)
  for i = 1, #some, each do
    local offset = tonumber(string.match(some[i + each - 1], '^%d+'))
    if not offset or offset < oldest or offset > t.offset then
      redis_call(command, key, some[i])
    end
  end
end

local marks

-- As `store`, for one message. `beside` is where its last keys begin.
local function store_with_life(at, key, beside, first)
  local top_key, list = KEYS[key], KEYS[key + 1]
  local marks_key, keys_key, ttl_key = KEYS[beside], KEYS[beside + 1], KEYS[beside + 2]
  local ttl, id, bell_magic, known_length = unpack_fields('>I6c16c11B', ARGV[at + 3])
  local known = sub(ARGV[at + 3], 35, 34 + known_length)
  local replaces = sub(ARGV[at + 3], 35 + known_length)
  -- What is damaged keeps the message from being stored, so it is looked at before.
  marks = marks or marks_functions()
  local bytes = redis_call('GET', marks_key)
  if bytes then
    marks.unpack(bytes)
  end
  local former = replaces ~= '' and redis_call('HGET', keys_key, replaces)
  if ttl > 0 then
    redis_call('ZCARD', ttl_key)
  end
  local epoch = store(at, key, 1, first)

  local t = unpack_top(redis_call('GET', top_key))
  local length = redis_call('LLEN', list)
  local oldest = math.max(t.offset - length, t.offset - t.most) + 1
  local lives = math.floor(t.keep * 1.25) + 1
  local own = string.format('%.0f ', t.offset) .. t.id
  local m, is_changed = marks.load(bytes, t, list, start, known)
  local changed = 0
  if replaces ~= '' then
    local offset, its_id = string.match(former or '', '^(%d+) (%S+)$')
    offset = tonumber(offset)
    if offset and offset >= oldest and marks.take_away(m, t, list, offset, its_id) then
      m.gone = marks.union(m.gone, { offset, offset })
      changed = 1
    end
    local is_new = redis_call('HSET', keys_key, replaces, own) == 1
    redis_call('PEXPIRE', keys_key, lives)
    if is_new then
      forget(redis_call('HRANDFIELD', keys_key, 4, 'WITHVALUES'), 2, t, oldest, 'HDEL', keys_key)
    end
  end
  local is_sooner = false
  if ttl > 0 then
    -- As expiryOf of marks.ts.
    local expires = math.min(t.time + ttl, 2 ^ 47)
    redis_call('ZADD', ttl_key, expires, own)
    redis_call('PEXPIRE', ttl_key, lives)
    forget(redis_call('ZRANDMEMBER', ttl_key, 4), 1, t, oldest, 'ZREM', ttl_key)
    is_sooner = m.next == 0 or expires < m.next
    if is_sooner then
      m.next = expires
    end
  end
  if is_changed or changed > 0 then
    marks.change(m, id, changed)
    marks.tell(t, length, marks.store(m, t, length, marks_key), ring, bell_magic, ARGV[at])
  elseif is_sooner then
    marks.store(m, t, length, marks_key)
  end
  return epoch
end

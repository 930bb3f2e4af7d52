/** The text of the Lua scripts without comments, made of lua/*.lua by `npm run lua`. */
export const lua = {
  acknowledge: `local most, ring, magic, ttl = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = clock()

local function move(top, list, devices, device, position, bus)
  local found = redis_call('GET', top)
  local epoch, at, id = position:match('^(%S+) (%d+) (.*)$')
  if not found or not epoch then
    return 0
  end
  local t = unpack_top(found)
  local offset = tonumber(at)
  if t.epoch ~= epoch or offset > t.offset then
    return 0
  end
  local there = t.id
  if offset < t.offset then
    local entry = redis_call('LINDEX', list, offset - t.offset - 1)
    local its_offset, its_id = string.match(entry or '', '^(%d+) %d+ (%S+)')
    there = tonumber(its_offset) == offset and its_id or id
  end
  if there ~= id then
    return 0
  end

  local known = redis_call('HGET', devices, device)
  if known then
    local expires, its_epoch, its_offset = known:match('^(%d+) (%S+) (%d+)')
    if expires and tonumber(expires) > now and its_epoch == epoch and tonumber(its_offset) >= offset then
      return 0
    end
  end

  redis_call('HSET', devices, device, (now + ttl) .. ' ' .. position)
  if not known and redis_call('HLEN', devices) > most then
    local all = redis_call('HGETALL', devices)
    local oldest, expired
    for i = 1, #all, 2 do
      local expires = tonumber(all[i + 1]:match('^%d+')) or 0
      if all[i] ~= device and (not oldest or expires < oldest) then
        oldest, expired = expires, all[i]
      end
    end
    redis_call('HDEL', devices, expired)
  end
  if redis_call('PTTL', devices) < ttl then
    redis_call('PEXPIRE', devices, math.floor(ttl * 1.25) + 1)
  end
  redis_call(ring, bus, magic .. position .. '\\n' .. device)
  return 1
end

local replies = {}
for i = 1, #KEYS / 3 do
  local key, at = 3 * i, 3 * i + 2
  local done, reply =
    pcall(move, KEYS[key - 2], KEYS[key - 1], KEYS[key], ARGV[at], ARGV[at + 1], ARGV[at + 2])
  if not done then
    reply = failure(reply)
    if not (reply.err:match('^ERR ') or reply.err:match('^WRONGTYPE ')) then
      return reply
    end
  end
  replies[i] = reply
end
return replies
`,
  append: `local ring, magic = ARGV[1], ARGV[2]
local start, idle = sub(ARGV[3], 1, 12), unpack_fields('>I6', ARGV[3], 13)
local now = clock()
local byte = string.byte
local replies = {}

local function store_rarely(t, found, top_key, list, length, stored)
  local is_trimmed = length > t.most + math.floor(t.most / 8)
  if length == stored then
    t.head = t.time
  end
  if is_trimmed then
    redis_call('LTRIM', list, -t.most, -1)
    t.head = time_of(redis_call('LINDEX', list, 0))
  end
  local is_due = now >= t.renew or length == stored
  if is_due then
    renew(t, list, now)
  end
  save(t, top_key, found, is_due)
end

local function store(at, key, count, first)
  local what_it_is = ARGV[at + 1]
  local wanted_age, wanted_most = unpack_fields('>I6I4', what_it_is, 2)
  local known = sub(what_it_is, 12 + count)
  local top_key, list = KEYS[key], KEYS[key + 1]
  local found = redis_call('GET', top_key)
  local is_stale, is_rare = false, false
  local epoch, age, most, keep, renew_at, head, big, _, offset, time
  if found then
    check_top(found)
    age, most, keep, renew_at, head, big, _, offset, time = unpack_fields(FIELDS, found, 24)
    if has_rewound(found, known) then
      epoch = new_epoch(start, origin_of(start, KEYS[1]))
      is_rare = true
    else
      epoch = sub(found, 1, 23)
    end
  else
    is_stale = redis_call('LLEN', list) > 0
    local origin = origin_of(start, KEYS[1])
    epoch = new_epoch(start, origin, not (is_stale or has_lost(known, origin)) and now, idle)
    age, most, keep, renew_at, head, big, offset, time = 0, 0, idle, 0, now, 0, 0, 0
  end
  if time < now then
    time = now
  end
  local longest = math.max(keep, idle, wanted_age)
  local largest = big
  local middle = ' ' .. time .. ' '
  local stored, entry, entries, receipts, last = 0, nil, nil, nil, nil
  local receipt_key = key + 1
  for i = 1, count do
    local window = byte(what_it_is, 11 + i)
    if window > 0 then
      receipt_key = receipt_key + 1
    end
    if replies[first + i] == '' then
      local own_key = window > 0 and KEYS[receipt_key]
      local earlier = own_key and receipts and receipts[own_key]
      if earlier then
        replies[first + i] = earlier[1]
      else
        last = ARGV[at + 1 + i]
        offset = offset + 1
        stored = stored + 1
        entry = offset .. middle .. last
        if stored == 2 then
          entries = { entries }
        end
        if stored > 1 then
          entries[stored] = entry
        else
          entries = entry
        end
        replies[first + i] = offset
        if #entry > largest then
          largest = #entry
        end
        if own_key then
          receipts = receipts or {}
          local kept = unpack_fields('>I6', ARGV[3], 13 + 6 * window)
          receipts[own_key] = { epoch .. ' ' .. offset .. ' ' .. sub(last, 1, 16), kept }
          longest = math.max(longest, kept)
        end
      end
    end
  end

  local length
  if stored == 1 then
    length = redis_call('RPUSH', list, entry)
  else
    length = redis_call('RPUSH', list, unpack(entries))
  end
  if is_stale then
    redis_call('LTRIM', list, -stored, -1)
    length = stored
  end
  local is_same = age == wanted_age and keep == longest and most == wanted_most and big == largest
  if is_same and not is_rare and now < renew_at and length > stored and length <= most + most / 8 then
    redis_call('SETRANGE', top_key, 55, sub(last, 1, 16) .. pack('>I6I6', offset, time))
  else
    if age ~= wanted_age or keep ~= longest then
      renew_at = 0
    end
    store_rarely({
      epoch = epoch, age = wanted_age, most = wanted_most, keep = longest, renew = renew_at, head = head,
      big = largest, id = sub(last, 1, 16), offset = offset, time = time,
    }, found, top_key, list, length, stored)
  end
  if receipts then
    for own_key, receipt in pairs(receipts) do
      redis_call('SET', own_key, receipt[1], 'PX', receipt[2])
    end
  end
  if stored == 1 then
    redis_call(ring, ARGV[at], magic .. epoch .. '\\n' .. #entry .. ' ' .. entry)
  else
    for i = 1, stored do
      entries[i] = #entries[i] .. ' ' .. entries[i]
    end
    redis_call(ring, ARGV[at], magic .. epoch .. '\\n' .. table.concat(entries))
  end
  return epoch
end
`,
  cancel: `local id = ARGV[1]
local item = call('HGET', ITEMS, id)
if not item or call('ZSCORE', TAKEN, member_of(item, id)) or call('ZSCORE', TRIED, id) then
  return 0
end
remove(id)
return 1
`,
  channel: `local FIELDS = '>I6I4I6I6I6I4c16I6I6'
local NEVER = 'fffffffffff'
local redis_call, sub = redis.call, string.sub
local pack, unpack_fields = struct.pack, struct.unpack

local function clock()
  local time = redis_call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

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

local function has_lost(known, origin)
  return known ~= '' and sub(known, 9, 12) == origin
end

local function new_epoch(start, origin, now, idle)
  return sub(start, 1, 8) .. origin .. (now and string.format('%011x', math.max(0, now - idle)) or NEVER)
end

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

local function renew(t, list, now)
  redis.call('PEXPIRE', list, math.floor(t.age * 1.25) + 1)
  t.head = age_out(list, now - t.age)
  t.renew = now + math.floor(math.min(t.age, t.keep) / 4)
end

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

local function save_anew(start, origin, top_key, now, idle)
  local t = {
    epoch = new_epoch(start, origin), age = 0, most = 0, keep = idle, renew = 0, head = now, big = 0,
    id = (' '):rep(16), offset = 0, time = 0,
  }
  save(t, top_key, false)
  return t
end
`,
  command: `local s = load_state()
for back = 1, math.min(s.top, 100) do
  local entry = call('LINDEX', LOG, -back)
  if entry and id_of(entry) == ARGV[2] then
    return { s.epoch, s.top - back + 1 }
  end
end

if ARGV[8] ~= '' then
  if ARGV[9] == '' then
    call('HDEL', RECORDS, ARGV[8])
  else
    if call('HLEN', RECORDS) >= tonumber(ARGV[7]) and call('HEXISTS', RECORDS, ARGV[8]) == 0 then
      local all = call('HGETALL', RECORDS)
      for i = 1, #all, 2 do
        local till = string.match(all[i + 1], '^%d+ (%S+)')
        if till ~= 'inf' and tonumber(till) <= s.now then
          call('HDEL', RECORDS, all[i])
        end
      end
      if call('HLEN', RECORDS) >= tonumber(ARGV[7]) then
        return { 'full' }
      end
    end
    call('HSET', RECORDS, ARGV[8], s.now .. ' ' .. ARGV[9] .. ' ' .. ARGV[10])
  end
end
append(s, ARGV[2], s.now, ARGV[3], tonumber(ARGV[4]))
save(s)
call(ARGV[5], ARGV[6], '')
return { s.epoch, s.top }
`,
  control: `local call = redis.call
local STATE, LOG, LEASES, RECORDS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function save(s)
  redis.pcall('HSET', STATE, 'epoch', s.epoch, 'top', s.top, 'id', s.id, 'run', s.run, 'since', s.since, 'longest', s.longest)
end

local function load_state()
  local found = call('HMGET', STATE, 'epoch', 'top', 'id', 'run', 'since', 'longest', 'layout')
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
  local s = {
    epoch = found[1] or ARGV[1], top = tonumber(found[2] or 0), id = found[3] or '-', run = run,
    since = tonumber(found[5] or 0), longest = tonumber(found[6] or 0), now = clock(), layout = tonumber(found[7] or nil),
  }
  if not found[1] or found[4] ~= run or s.since > s.now then
    s.since = s.now
    save(s)
  end
  return s
end

local function entry_at(s, number)
  if number > s.top then
    return false
  end
  return call('LINDEX', LOG, number - s.top - 1)
end

local function id_of(entry)
  return entry and string.match(entry, '^%d+ (%S+)')
end

local function goes_on(s, epoch, number, id)
  if epoch ~= s.epoch or number > s.top then
    return false
  end
  if number == s.top then
    return id == s.id
  end
  local entry = number > 0 and entry_at(s, number)
  return not entry or id_of(entry) == id
end

local function append(s, id, time, json, most)
  s.top = s.top + 1
  s.id = id
  call('RPUSH', LOG, s.top .. ' ' .. id .. ' ' .. time .. ' ' .. json)
  call('LTRIM', LOG, -most, -1)
end
`,
  finish: `redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
`,
  forget: `local removed = 0
for i = 1, #ARGV, 2 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  local life = ARGV[i + 1] .. ' '
  if entry and entry:sub(1, #life) == life then
    removed = removed + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return removed
`,
  later: `local most = tonumber(ARGV[3])
local count = call('HLEN', ITEMS)
local first = call('ZRANGE', WHEN, 0, 0, 'WITHSCORES')
local earliest = first[2] and tonumber(first[2])

local function add(id, token, at, rest)
  local known = call('HGET', ITEMS, id)
  if known then
    return { struct.unpack('>I6', known), sub(known, 13, 28) == token and 0 or 1 }
  end
  if most > 0 and count >= most then
    return {}
  end
  local head = struct.pack('>I6I6', at, call('INCR', NUMBER))
  local item = head .. token .. rest
  call('ZADD', OF .. channel_of(item), 0, head .. id)
  call('ZADD', WHEN, at, head .. id)
  call('HSET', ITEMS, id, item)
  count = count + 1
  return { at, 0 }
end

local replies, is_early = {}, false
for i = 4, #ARGV, 4 do
  local at = tonumber(ARGV[i + 2])
  local done, reply = pcall(add, ARGV[i], ARGV[i + 1], at, ARGV[i + 3])
  replies[#replies + 1] = done and reply or failure(reply)
  if not earliest or at < earliest then
    earliest, is_early = at, true
  end
end
if is_early then
  redis.pcall(ARGV[1], ARGV[2], '')
end
return replies
`,
  lease: `local s = load_state()
local known = tonumber(ARGV[9])
if s.layout and s.layout > known then
  return { 'newer', s.layout }
end
if not s.layout then
  redis.pcall('HSET', STATE, 'layout', known)
end
local epoch, number, id = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local status = 'ok'
local entries, records = {}, {}
if epoch == '' then
  number, id = s.top, s.id
  records = call('HGETALL', RECORDS)
  for _, other in ipairs(call('HKEYS', LEASES)) do
    if call('EXISTS', KEYS[5] .. other) == 0 then
      call('HDEL', LEASES, other)
    end
  end
elseif not goes_on(s, epoch, number, id) then
  if epoch == s.epoch then
    s.epoch, s.since = ARGV[1], s.now
    save(s)
  end
  return { 'lost' }
elseif s.top - number > call('LLEN', LOG) then
  status = 'missed'
  number, id = s.top, s.id
  records = call('HGETALL', RECORDS)
end

local most = tonumber(ARGV[8])
if number < s.top then
  local from = number - s.top
  entries = call('LRANGE', LOG, from, math.min(-1, from + most - 1))
end

local lease = tonumber(ARGV[4])
if call('PEXPIRE', KEYS[5] .. ARGV[2], lease) == 0 then
  call('SET', KEYS[5] .. ARGV[2], '', 'PX', lease)
end
local told = number .. ' ' .. ARGV[3]
if call('HGET', LEASES, ARGV[2]) ~= told then
  redis.pcall('HSET', LEASES, ARGV[2], told)
end
if lease > s.longest then
  s.longest = lease
  save(s)
end
for i = 10, #ARGV, 2 do
  local key = KEYS[6] .. ARGV[i]
  redis.pcall('HSET', key, ARGV[2], ARGV[i + 1])
  call('PEXPIRE', key, 60000)
end
return { status, s.epoch, number, id, s.now, entries, records }
`,
  life: `local function forget(some, each, t, oldest, command, key)
  for i = 1, #some, each do
    local offset = tonumber(string.match(some[i + each - 1], '^%d+'))
    if not offset or offset < oldest or offset > t.offset then
      redis_call(command, key, some[i])
    end
  end
end

local marks

local function store_with_life(at, key, beside, first)
  local top_key, list = KEYS[key], KEYS[key + 1]
  local marks_key, keys_key, ttl_key = KEYS[beside], KEYS[beside + 1], KEYS[beside + 2]
  local ttl, id, bell_magic, known_length = unpack_fields('>I6c16c11B', ARGV[at + 3])
  local known = sub(ARGV[at + 3], 35, 34 + known_length)
  local replaces = sub(ARGV[at + 3], 35 + known_length)
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
`,
  lone: `if #KEYS == 3 and #ARGV == 6 then
  local call, sub, unpack_fields = redis.pcall, string.sub, struct.unpack
  local found, what = call('GET', KEYS[2]), ARGV[5]
  if found and #found == 83 and sub(what, 1, 11) == '\\1' .. sub(found, 24, 33) then
    local age, most, keep, renew, _, big, _, offset, time = unpack_fields('>I6I4I6I6I6I4c16I6I6', found, 24)
    local idle, known = unpack_fields('>I6', ARGV[3], 13), sub(what, 13)
    local clock = call('TIME')
    local now = clock[1] * 1000 + (clock[2] - clock[2] % 1000) / 1000
    local goes_on = known == '' or sub(known, 24) == sub(found, 56, 77) or sub(known, 1, 23) ~= sub(found, 1, 23)
      or unpack_fields('>I6', known, 40) < offset
    if goes_on and now < renew and keep >= idle and keep >= age then
      if time < now then
        time = now
      end
      offset = offset + 1
      local message = ARGV[6]
      local entry = offset .. ' ' .. time .. ' ' .. message
      local length = #entry <= big and call('RPUSH', KEYS[3], entry)
      if type(length) == 'number' then
        if length > 1 and length <= most + most / 8 then
          local epoch = sub(found, 1, 23)
          call('SETRANGE', KEYS[2], 55, sub(message, 1, 16) .. struct.pack('>I6I6', offset, time))
          local rung = call(ARGV[1], ARGV[4], ARGV[2] .. epoch .. '\\n' .. #entry .. ' ' .. entry)
          return { epoch, type(rung) == 'table' and rung or offset }
        end
        call('RPOP', KEYS[3])
      end
    end
  end
end
`,
  look: `local function look()
  local found = redis_call('GET', KEYS[1])
  local start, known = ARGV[1], ARGV[3]
  local now = clock()
  if not found then
    local origin = origin_of(start, KEYS[3])
    if redis_call('LLEN', KEYS[2]) == 0 and not has_lost(known, origin) then
      return nil, now, false, origin
    end
    local t = save_anew(start, origin, KEYS[1], now, tonumber(ARGV[2]))
    redis_call('DEL', KEYS[2])
    return t, now, true
  end
  local t = unpack_top(found)
  local is_changed = false
  if has_rewound(found, known) then
    t.epoch = new_epoch(start, origin_of(start, KEYS[3]))
    is_changed = true
  end
  local is_due = now >= t.renew
  if is_due then
    renew(t, KEYS[2], now)
  elseif t.head <= now - t.age then
    t.head = age_out(KEYS[2], now - t.age)
    is_changed = true
  end
  if is_changed or is_due then
    save(t, KEYS[1], true, is_due)
  end
  return t, now, is_due
end
`,
  mark: `local MOST, BUDGET = 256, 1048576

local t, now, is_due, origin = look()
if not t then
  return { '', origin, now }
end
if is_due then
  for i = 4, 6 do
    redis_call('PEXPIRE', KEYS[i], math.floor(t.keep * 1.25) + 1)
  end
end
local list, marks_key, keys_key, ttl_key = KEYS[2], KEYS[4], KEYS[5], KEYS[6]
local id, as, which = ARGV[5], ARGV[9], ARGV[10]
local marks = marks_functions()
local length = redis_call('LLEN', list)
local first = math.max(t.offset - length, t.offset - t.most) + 1
local stored = redis_call('GET', marks_key)
local m, is_changed = marks.load(stored, t, list, ARGV[1], ARGV[4])
local is_repeated = m.number > 0 and m.id == id
local newest, changed_before = t.offset, 0
if is_repeated then
  newest, changed_before = m.at, m.changed
end

local expired, left, next_before = 0, 0, m.next
if m.next > 0 and m.next <= now or not stored and redis_call('EXISTS', ttl_key) == 1 then
  local is_unfinished
  expired, is_unfinished = marks.expire(m, t, list, ttl_key, now, MOST, BUDGET)
  if is_unfinished then
    left, as = -1, ''
  end
end

local row, row_from = {}, 0
local most_in_row = math.max(1, math.min(32, math.floor(262144 / math.max(t.big, 1))))
local function entry_at(offset, count)
  if not row[offset - row_from + 1] then
    local from = offset - t.offset - 1
    row, row_from = redis_call('LRANGE', list, from, from + math.min(count, most_in_row) - 1), offset
  end
  return row[offset - row_from + 1] or ''
end

local heads = {}
local function those_kept(positions)
  local kept, budget, looks = {}, BUDGET, 0
  local count = #positions / 22
  for i = 1, count do
    if budget <= 0 or looks == MOST then
      return kept, count - i + 1
    end
    local its_id, offset = unpack_fields('>c16I6', positions, 22 * i - 21)
    if offset >= first and offset <= t.offset then
      local last = math.min(i + most_in_row - 1, count)
      local is_row = unpack_fields('>I6', positions, 22 * last - 5) - offset == last - i
      local entry = entry_at(offset, is_row and math.min(last - i, t.offset - offset) + 1 or 1)
      budget = budget - #entry
      looks = looks + 1
      local head, stored_id = marks.head_of(entry, offset)
      if stored_id == its_id then
        kept[#kept + 1] = offset
        heads[offset] = head
      end
    end
  end
  return kept, 0
end

local function those_left(positions, count)
  local offsets = {}
  for i = #positions / 22 - count, #positions / 22 - 1 do
    local offset = unpack_fields('>I6', positions, 22 * i + 17)
    if offset >= first and offset <= t.offset then
      offsets[#offsets + 1] = offset
    end
  end
  return marks.ranges_of(offsets)
end

local function those_to_erase(last)
  local all, budget = marks.without({ first, last }, m.gone), BUDGET
  local some = {}
  for i = 1, #all, 2 do
    for offset = all[i], all[i + 1] do
      if budget <= 0 or #some == MOST then
        return some, 1
      end
      local entry = entry_at(offset, all[i + 1] - offset + 1)
      local head = marks.head_of(entry, offset)
      if not head then
        error('an entry of the log that is not at its place', 0)
      end
      budget = budget - #entry
      some[#some + 1] = offset
      heads[offset] = head
    end
  end
  return some, 0
end

local function up_to(last)
  if last < first then
    return {}
  end
  if as == 'deleted' then
    local some
    some, left = those_to_erase(last)
    return marks.ranges_of(some)
  end
  return { first, last }
end

local function target()
  if which == 'all' then
    return up_to(newest)
  end
  if which == 'key' then
    local its_offset, its_id = string.match(redis_call('HGET', keys_key, ARGV[11]) or '', '^(%d+) (%S+)$')
    local kept = its_id and #its_id == 16 and those_kept(its_id .. pack('>I6', tonumber(its_offset))) or {}
    return marks.ranges_of(kept)
  end
  for i = 11, #ARGV, 2 do
    if ARGV[i] == t.epoch then
      local kept
      kept, left = those_kept(ARGV[i + 1])
      if which == 'messages' then
        return marks.ranges_of(kept), left > 0 and those_left(ARGV[i + 1], left)
      end
      return kept[1] and up_to(kept[1]) or {}
    end
  end
  return {}
end

local changed = 0
if as ~= '' then
  local these, others = target()
  local about = marks.without(these, m.gone)
  if as == 'withdrawn' then
    changed = marks.apply(m, 'deleted', about)
  else
    changed = marks.apply_within_bounds(m, as, about, marks.without(others or {}, m.gone), t.offset - length + 1)
  end
  if (as == 'deleted' or as == 'withdrawn') and changed > 0 then
    for i = 1, #about, 2 do
      for offset = about[i], about[i + 1] do
        marks.erase(t, list, offset, heads[offset])
      end
    end
  end
end

is_changed = is_changed or expired > 0 or changed > 0
if is_changed then
  marks.change(m, id, changed_before + math.max(0, changed))
end
if m.number == 0 and m.next == 0 then
  if stored then
    redis_call('DEL', marks_key)
  end
  stored = ''
elseif is_changed or m.next ~= next_before or m.epoch ~= t.epoch then
  stored = marks.store(m, t, length, marks_key)
end
if is_changed then
  marks.tell(t, length, stored, ARGV[6], ARGV[7], ARGV[8])
end
return { pack_top(t), length, stored, changed < 0 and changed or changed_before + changed, left }
`,
  marks: `local function marks_functions()
  local HEAD = '>I6I6I6I4I4I4I4I4'
  local HEAD_BYTES = 105
  local KINDS = { 'seen', 'read', 'archived', 'gone' }
  local SOME = 50
  local MOST_RANGES = 4096
  local match, floor, max, min = string.match, math.floor, math.max, math.min


  local function union(a, b)
    if #a == 0 then
      return b
    end
    local result, n, i, k = {}, 0, 1, 1
    while a[i] or b[k] do
      local first, last
      if not b[k] or (a[i] and a[i] <= b[k]) then
        first, last = a[i], a[i + 1]
        i = i + 2
      else
        first, last = b[k], b[k + 1]
        k = k + 2
      end
      if n > 0 and first <= result[n] + 1 then
        result[n] = max(result[n], last)
      else
        result[n + 1], result[n + 2] = first, last
        n = n + 2
      end
    end
    return result
  end

  local function without(a, b)
    local result, n, k = {}, 0, 1
    for i = 1, #a, 2 do
      local first, last = a[i], a[i + 1]
      while b[k] and b[k + 1] < first do
        k = k + 2
      end
      local at = k
      while b[at] and b[at] <= last do
        if b[at] > first then
          result[n + 1], result[n + 2] = first, b[at] - 1
          n = n + 2
        end
        first = b[at + 1] + 1
        at = at + 2
      end
      if first <= last then
        result[n + 1], result[n + 2] = first, last
        n = n + 2
      end
    end
    return result
  end

  local function size(a)
    local sum = 0
    for i = 1, #a, 2 do
      sum = sum + a[i + 1] - a[i] + 1
    end
    return sum
  end

  local function clip(a, lowest)
    if #a == 0 or a[1] >= lowest then
      return a
    end
    local result, n = {}, 0
    for i = 1, #a, 2 do
      if a[i + 1] >= lowest then
        result[n + 1], result[n + 2] = max(a[i], lowest), a[i + 1]
        n = n + 2
      end
    end
    return result
  end

  local function ranges_of(offsets)
    local result, n = {}, 0
    for i = 1, #offsets do
      if n > 0 and offsets[i] <= result[n] + 1 then
        result[n] = offsets[i]
      else
        result[n + 1], result[n + 2] = offsets[i], offsets[i]
        n = n + 2
      end
    end
    return result
  end

  local function unpack_marks(bytes)
    if #bytes < HEAD_BYTES then
      error('a string that is no marks of a channel', 0)
    end
    local m, counts = {
      epoch = sub(bytes, 1, 23), version = sub(bytes, 24, 35), id = sub(bytes, 36, 51), at_id = sub(bytes, 52, 67),
    }, {}
    m.at, m.number, m.next, m.changed, counts[1], counts[2], counts[3], counts[4] = unpack_fields(HEAD, bytes, 68)
    if #bytes ~= HEAD_BYTES + 12 * (counts[1] + counts[2] + counts[3] + counts[4]) then
      error('a string that is no marks of a channel', 0)
    end
    local from = HEAD_BYTES + 1
    for kind = 1, 4 do
      local ranges, n, left = {}, 0, counts[kind]
      while left > 0 do
        local some = min(left, SOME)
        local numbers = { unpack_fields('>' .. ('I6'):rep(2 * some), bytes, from) }
        for i = 1, 2 * some do
          ranges[n + i] = numbers[i]
        end
        n = n + 2 * some
        from = from + 12 * some
        left = left - some
      end
      m[KINDS[kind]] = ranges
    end
    return m
  end

  local function pack_marks(m)
    local parts = {
      m.epoch .. m.version .. m.id .. m.at_id
        .. pack(HEAD, m.at, m.number, m.next, m.changed, #m.seen / 2, #m.read / 2, #m.archived / 2, #m.gone / 2),
    }
    for kind = 1, 4 do
      local ranges = m[KINDS[kind]]
      for i = 1, #ranges, 2 * SOME do
        local last = min(#ranges, i + 2 * SOME - 1)
        parts[#parts + 1] = pack('>' .. ('I6'):rep(last - i + 1), unpack(ranges, i, last))
      end
    end
    return table.concat(parts)
  end

  local function belongs(m, t, list)
    if m.at >= t.offset then
      return m.at == t.offset and m.at_id == t.id
    end
    if m.epoch == t.epoch then
      return true
    end
    local offset, id = match(redis_call('LINDEX', list, m.at - t.offset - 1) or '', '^(%d+) %d+ (%S+)')
    return tonumber(offset) == m.at and id == m.at_id
  end

  local function load(bytes, t, list, start, known)
    local m = bytes and unpack_marks(bytes)
    if not (m and belongs(m, t, list)) then
      return {
        version = sub(start, 1, 12), id = (' '):rep(16), number = 0, next = 0, changed = 0,
        seen = {}, read = {}, archived = {}, gone = {},
      }, false
    end
    if known == '' or sub(known, 1, 12) ~= m.version then
      return m, false
    end
    local number = unpack_fields('>I6', known, 29)
    if number < m.number or (number == m.number and sub(known, 13, 28) == m.id) then
      return m, false
    end
    m.version = sub(start, 1, 12)
    return m, true
  end

  local function clip_all(m, lowest)
    local count = 0
    for kind = 1, 4 do
      local name = KINDS[kind]
      m[name] = clip(m[name], lowest)
      count = count + #m[name] / 2
    end
    return count
  end

  local function store(m, t, length, key)
    clip_all(m, t.offset - length + 1)
    m.epoch, m.at, m.at_id = t.epoch, t.offset, t.id
    local bytes = pack_marks(m)
    redis_call('SET', key, bytes, 'PX', floor(t.keep * 1.25) + 1)
    return bytes
  end

  local function change(m, id, changed)
    m.number, m.id, m.changed = m.number + 1, id, changed
  end

  local function tell(t, length, bytes, ring, magic, bus)
    redis_call(ring, bus, magic .. '\\n' .. pack_top(t) .. pack('>I6', length) .. bytes)
  end

  local function head_of(entry, offset)
    local head, its_offset, id, kind = match(entry, '^((%d+) %d+ (%S+)) (%a)')
    if tonumber(its_offset) == offset then
      return head, id, kind == 'g'
    end
  end

  local function erase(t, list, offset, head)
    redis_call('LSET', list, offset - t.offset - 1, head .. ' g\\n')
  end

  local function take_away(m, t, list, offset, id)
    local entry = offset <= t.offset and redis_call('LINDEX', list, offset - t.offset - 1)
    if not entry then
      return false, 0
    end
    local head, its_id, is_gone = head_of(entry, offset)
    if its_id ~= id or is_gone then
      return false, #entry
    end
    erase(t, list, offset, head)
    return true, #entry
  end

  local function expire(m, t, list, ttl_key, now, most, budget)
    local due = redis_call('ZRANGEBYSCORE', ttl_key, '-inf', now, 'LIMIT', 0, most)
    local gone, done = {}, 0
    while done < #due and budget > 0 do
      done = done + 1
      local offset, id = match(due[done], '^(%d+) (%S+)$')
      offset = tonumber(offset)
      local is_gone, bytes = take_away(m, t, list, offset or t.offset + 1, id)
      budget = budget - bytes
      if is_gone then
        gone[#gone + 1] = offset
      end
    end
    if done > 0 then
      redis_call('ZREM', ttl_key, unpack(due, 1, done))
    end
    local next = redis_call('ZRANGE', ttl_key, 0, 0, 'WITHSCORES')
    m.next = tonumber(next[2]) or 0
    table.sort(gone)
    m.gone = union(m.gone, ranges_of(gone))
    return #gone, m.next > 0 and m.next <= now
  end

  local function apply(m, as, about)
    local all, changed = size(about), nil
    if as == 'deleted' then
      m.gone = union(m.gone, about)
      return all
    elseif as == 'unread' then
      changed = all - size(without(about, m.read))
      m.read = without(m.read, about)
    elseif as == 'unarchived' then
      changed = all - size(without(about, m.archived))
      m.archived = without(m.archived, about)
    elseif as == 'archived' then
      changed = size(without(about, m.archived))
      m.archived = union(m.archived, about)
    elseif as == 'seen' then
      changed = size(without(about, m.seen))
      m.seen = union(m.seen, about)
    else
      changed = size(without(about, m.read))
      m.seen, m.read = union(m.seen, about), union(m.read, about)
    end
    return changed
  end

  local function apply_within_bounds(m, as, about, others, lowest)
    local seen, read, archived, gone = m.seen, m.read, m.archived, m.gone
    local before = (#seen + #read + #archived + #gone) / 2
    local changed = apply(m, as, union(about, others))
    local count = clip_all(m, lowest)
    local is_refused = changed > 0 and count > MOST_RANGES and count > before
    if is_refused or #others > 0 then
      m.seen, m.read, m.archived, m.gone = seen, read, archived, gone
    end
    if is_refused then
      return -count
    end
    return #others > 0 and apply(m, as, about) or changed
  end

  return {
    load = load, store = store, change = change, tell = tell, head_of = head_of, erase = erase, take_away = take_away,
    expire = expire, apply = apply, apply_within_bounds = apply_within_bounds, unpack = unpack_marks, without = without,
    union = union, ranges_of = ranges_of,
  }
end
`,
  progress: `local s = load_state()
local number = tonumber(ARGV[3])
if not goes_on(s, ARGV[2], number, ARGV[4]) then
  return { 'lost' }
end
local longest = math.max(s.longest, tonumber(ARGV[5]))
local pending = {}
local all = call('HGETALL', LEASES)
for i = 1, #all, 2 do
  local left = call('PTTL', KEYS[5] .. all[i])
  local done, name = string.match(all[i + 1], '^(%d+) (.*)$')
  if left < 0 then
    call('HDEL', LEASES, all[i])
  elseif tonumber(done) < number then
    pending[#pending + 1] = name
  end
  if left > longest then
    call('PEXPIRE', KEYS[5] .. all[i], longest)
  end
end
return { 'ok', math.max(0, s.since + longest - s.now), pending, call('HVALS', KEYS[6] .. ARGV[4]) }
`,
  publish: `local at, key, first, last_argument = 4, 2, 1, #ARGV
while at < last_argument do
  local what_it_is = ARGV[at + 1]
  local count, has_life = byte(what_it_is), false
  if count > 128 then
    count, has_life = 1, true
  end
  replies[first] = ''
  if count == 0 then
    local rung, reason = pcall(redis_call, ring, ARGV[at], ARGV[at + 2])
    if not rung then
      replies[first] = failure(reason)
    end
    at = at + 3
  else
    local receipt_key, fresh, given = key + 1, count, nil
    for i = 1, count do
      replies[first + i] = ''
      if byte(what_it_is, 11 + i) > 0 then
        receipt_key = receipt_key + 1
        local receipt = redis.pcall('GET', KEYS[receipt_key])
        if receipt then
          replies[first + i] = type(receipt) == 'table' and failure(receipt) or receipt
          fresh = fresh - 1
          given = given or {}
          given[i] = true
        end
      end
    end
    if fresh > 0 then
      local done, epoch
      if has_life then
        done, epoch = pcall(store_with_life, at, key, receipt_key + 1, first)
      else
        done, epoch = pcall(store, at, key, count, first)
      end
      if done then
        replies[first] = epoch
      else
        for i = 1, count do
          if not (given and given[i]) then
            replies[first + i] = failure(epoch)
          end
        end
      end
    end
    key = receipt_key + 1
    at = at + 2 + count
    if has_life then
      key, at = key + 3, at + 1
    end
  end
  first = first + count + 1
end
return replies
`,
  read: `local t, now, _, origin = look()
if not t then
  return { '', origin, now }
end

local length = redis.call('LLEN', KEYS[2])
local function is_at_its_place(index)
  local offset = tonumber(redis.call('LINDEX', KEYS[2], index):match('^%d+'))
  if not offset then
    error('an entry of the log that is no message', 0)
  end
  return offset == t.offset - length + 1 + index
end
local function mend()
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_at_its_place(middle) then
      high = middle
    else
      low = middle + 1
    end
  end
  redis.call('LTRIM', KEYS[2], low, -1)
  length = length - low
end

local wanted = tonumber(ARGV[4]) + 1
local most_wanted = tonumber(ARGV[5])
local function first_index()
  return math.max(wanted - t.offset + length - 1, length - t.most, 0)
end
local next = first_index()
if next < length and not (is_at_its_place(next) and is_at_its_place(math.min(next + most_wanted, length) - 1)) then
  mend()
  next = first_index()
end
local page = { pack_top(t), math.max(t.offset - length, t.offset - t.most) + 1, now }
local left = most_wanted
local bytes = tonumber(ARGV[6])
while left > 0 and bytes > 0 and next < length do
  local entries = redis.call('LRANGE', KEYS[2], next, next + math.min(left, 32) - 1)
  for i = 1, #entries do
    page[#page + 1] = entries[i]
    left = left - 1
    bytes = bytes - #entries[i]
    if bytes <= 0 then
      break
    end
  end
  next = next + #entries
end
return page
`,
  renew: `local found = redis.call('GET', KEYS[1])
local origin = origin_of(ARGV[1], KEYS[3])
if not found then
  if not has_lost(ARGV[3], origin) then
    return 0
  end
  save_anew(ARGV[1], origin, KEYS[1], clock(), tonumber(ARGV[2]))
  redis.call('DEL', KEYS[2])
  return 1
end

local t = unpack_top(found)
local known = ARGV[3]
if known:sub(1, 23) ~= t.epoch then
  return 0
end
local rewound = has_rewound(found, known)
local offset = unpack_fields('>I6', known, 40)
if offset < t.offset then
  local entry = redis.call('LINDEX', KEYS[2], offset - t.offset - 1)
  local at, id = string.match(entry or '', '^(%d+) %d+ (%S+)')
  rewound = tonumber(at) == offset and id ~= known:sub(24, 39)
end
if not rewound then
  return 0
end
t.epoch = new_epoch(ARGV[1], origin)
save(t, KEYS[1], true)
return 1
`,
  restore: `local s = load_state()
local most = tonumber(ARGV[2])
local known = {}
for _, entry in ipairs(call('LRANGE', LOG, 0, -1)) do
  known[id_of(entry)] = true
end
local before = s.top
local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local key, set, till, value = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local there = call('HGET', RECORDS, key)
  local stored = there and tonumber(string.match(there, '^%d+')) or 0
  if set > stored and (there or till ~= '') then
    if till == '' then
      call('HDEL', RECORDS, key)
    else
      call('HSET', RECORDS, key, set .. ' ' .. till .. ' ' .. value)
    end
    append(s, ARGV[at + 4], s.now, ARGV[at + 5], most)
  end
  at = at + 6
end
for i = at, #ARGV, 3 do
  if not known[ARGV[i]] then
    append(s, ARGV[i], ARGV[i + 1], ARGV[i + 2], most)
  end
end
if s.top > before then
  save(s)
  call(ARGV[3], ARGV[4], '')
end
return { s.epoch, s.top, s.id, s.now, s.since, call('LRANGE', LOG, 0, -1), call('HGETALL', RECORDS) }
`,
  schedule: `local call, sub = redis.call, string.sub
local ITEMS, WHEN, TAKEN, TRIED, HELD, LEASE, FAILED, NUMBER, OF = unpack(KEYS)

local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function member_of(item, id)
  return sub(item, 1, 12) .. id
end

local function channel_of(item)
  local finish = #item > 28 and string.find(item, '\\n', 29, true)
  return finish and sub(item, 29, finish - 1)
end

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
    redis.pcall('ZREM', OF .. channel, member)
  end
end
`,
  scheduled: `local channel, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
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
`,
  settle: `local LONGEST = 60000

local is_mine = call('GET', LEASE) == ARGV[1]
local time = clock()

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
`,
  strays: `local last
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local about = {}
  for i = 1, #group, 2 do
    about[group[i]] = group[i + 1]
  end
  if about.name == ARGV[1] then
    last = about['last-delivered-id']
  end
end
local strays = {}
if last then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', last, 'COUNT', ARGV[2])) do
    if #redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1) == 0 then
      strays[#strays + 1] = entry[1]
    end
  end
end
return strays
`,
  take: `local MOST_LOOKS = 1000
local LONGEST = 600000

local me, lease = ARGV[1], tonumber(ARGV[3])
local time = clock()
local now = math.min(time, tonumber(ARGV[2]))
local holder = call('GET', LEASE)
local function who(name)
  return string.match(name, '^[^.]*')
end
if holder and who(holder) ~= who(me) then
  local left = call('PTTL', LEASE)
  if left >= 0 and left <= 2 * lease then
    return { 'other', left }
  end
end
if holder ~= me then
  for _, member in ipairs(call('ZRANGE', TAKEN, 0, -1)) do
    call('ZADD', WHEN, (struct.unpack('>I6', member)), member)
    call('ZADD', TRIED, 0, sub(member, 13))
  end
  call('DEL', TAKEN)
end
if call('ZCARD', WHEN) == 0 and call('ZCARD', TAKEN) == 0 then
  call('DEL', LEASE, HELD, TRIED)
  return { 'none' }
end
call('SET', LEASE, me, 'PX', lease)

local reply, looks, bytes = { 'held', time, '' }, 0, 0
local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local count = 0

local function put_off(member, item, due)
  local channel = channel_of(item)
  local till, tries = string.match(channel and call('HGET', HELD, channel) or '', '^(%d+) (%d+)$')
  till = tonumber(till)
  if not till then
    return
  end
  if till > due and till <= time + LONGEST then
    call('ZADD', WHEN, till, member)
    return till
  end
  if till < due and tries == '0' then
    call('HDEL', HELD, channel)
  end
end

local function hand_out(member, id, item)
  call('ZREM', WHEN, member)
  call('ZADD', TAKEN, 0, member)
  reply[#reply + 1] = id
  reply[#reply + 1] = item
  count = count + 1
  bytes = bytes + #item
end

while count < most and bytes < most_bytes and looks < MOST_LOOKS do
  local due = call('ZRANGEBYSCORE', WHEN, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most - count)
  if #due == 0 then
    break
  end
  for i = 1, #due, 2 do
    if bytes >= most_bytes then
      break
    end
    looks = looks + 1
    local member = due[i]
    local id = sub(member, 13)
    local item = call('HGET', ITEMS, id)
    if item then
      local till = put_off(member, item, tonumber(due[i + 1]))
      if not till then
        hand_out(member, id, item)
      elseif till <= now then
        break
      end
    else
      call('ZREM', WHEN, member)
    end
  end
end
local next_one = call('ZRANGE', WHEN, 0, 0, 'WITHSCORES')
reply[3] = next_one[2] or ''
return reply
`,
};

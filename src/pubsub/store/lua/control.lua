-- Shared beginning of lease.lua, command.lua, progress.lua and restore.lua: the control log.
--
-- state    hash: epoch (by chance; another one when commands may have been lost), top and id (number and id of the newest
--            command), run (of the server that has written last), since (milliseconds: when that run was met), longest
--            (milliseconds of the longest lease), layout (of all keys with the prefix: versions.ts)
-- log      list of the newest commands, oldest first: '<number> <id> <milliseconds> <command as JSON>'
-- leases   hash: instance -> '<number of the last command that it has carried out> <name>'
-- records  hash: key -> '<milliseconds when it was set> <until, or inf> <value>'
-- lease    one string for each instance, which lasts as long as its lease. Lengthening it takes no memory, so that a
--            server that is full refuses it nobody.
-- count    one hash for each command, kept for a minute: instance -> what it was about
--
-- KEYS     1 state, 2 log, 3 leases, 4 records, 5 what begins the keys of leases, 6 what begins those of counts
-- ARGV     1 an epoch, should a new one be needed

local call = redis.call
local STATE, LOG, LEASES, RECORDS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Where a server that is full refuses it, the next one tries again.
local function save(s)
  redis.pcall('HSET', STATE, 'epoch', s.epoch, 'top', s.top, 'id', s.id, 'run', s.run, 'since', s.since, 'longest', s.longest)
end

-- A server that was restarted, or has taken over from another one, may not know of all leases: they run as long as
-- they can have been given for, from the moment on at which that is noticed; and so from when its clock was set back.
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

-- Whether the log still goes on from here. A command that is not kept any more is believed.
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

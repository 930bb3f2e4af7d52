-- Renews an instance's lease, and returns the commands that it has not carried out yet.
--
-- KEYS  control.lua
-- ARGV  1 control.lua, 2 instance, 3 its name, 4 milliseconds of the lease, 5 epoch, number and id of the last command
--       that it has carried out (an empty epoch: it begins), 8 most commands to return, 9 the layout that it knows,
--       then by turns the id of a command and what that was about
-- Returns { 'ok', epoch, number and id that it goes on from, milliseconds, { commands }, { records, if it begins } };
-- 'missed' in place of 'ok' where commands are not kept any more: then it begins at the top. { 'lost' } where commands may
-- have been lost: no lease before it has said what it knows (restore.lua). { 'newer', layout } where the store is written in a
-- layout that it does not know: no lease.

local s = load_state()
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
  -- Instances that have ended without a word.
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

-- Who has not carried out a command yet.
--
-- KEYS  control.lua
-- ARGV  1 control.lua, 2 epoch, 3 number and 4 id of the command, 5 milliseconds of a lease
-- Returns { 'lost' } where the log has no such command any more, otherwise { 'ok', milliseconds until leases that nobody
-- here knows of are over, { name … }, { what it was about … } }.

local s = load_state()
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
  -- The clock was set back: it is over as if it had been given now.
  if left > longest then
    call('PEXPIRE', KEYS[5] .. all[i], longest)
  end
end
return { 'ok', math.max(0, s.since + longest - s.now), pending, call('HVALS', KEYS[6] .. ARGV[4]) }

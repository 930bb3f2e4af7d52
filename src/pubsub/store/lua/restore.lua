-- After commands may have been lost: writes again what an instance knows and the store does not, and returns all.
--
-- KEYS  control.lua
-- ARGV  1 control.lua, 2 most commands to keep, 3 PUBLISH or SPUBLISH, 4 channel on the bus, 5 how many records, then for
--       each its key, when it was set, until (empty: it was removed) and value, the id of a command for it and the
--       command; then for each command its id, milliseconds and the command, oldest first
-- Returns { epoch, top, id, milliseconds, when this began, { all commands }, { all records } }.

local s = load_state()
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

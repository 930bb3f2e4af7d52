-- Appends a command, changes a record with it, and rings.
--
-- KEYS  control.lua
-- ARGV  1 control.lua, 2 id, 3 command as JSON, 4 most commands to keep, 5 PUBLISH or SPUBLISH, 6 channel on the bus,
--       7 most records, 8 key of a record (empty: none), 9 until (empty: it is removed), 10 value
-- Returns { epoch, number }, or { 'full' } where there are too many records.

local s = load_state()
-- An attempt whose answer got lost.
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

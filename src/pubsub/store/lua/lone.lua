-- The short way of publish.lua, which goes before it: one message without an idempotency key, to a channel whose top only
-- has to be moved. Whatever else there is to do is left to the rest of the script, as if nothing had been done here; so
-- neither functions nor tables are made for what is stored most. KEYS, ARGV and the reply are those of publish.lua.

if #KEYS == 3 and #ARGV == 6 then
  local call, sub, unpack_fields = redis.pcall, string.sub, struct.unpack
  local found, what = call('GET', KEYS[2]), ARGV[5]
  -- 83 bytes: of something that is no top, there are not as many. `what` begins with how many messages there are.
  if found and #found == 83 and sub(what, 1, 11) == '\1' .. sub(found, 24, 33) then
    local age, most, keep, renew, _, big, _, offset, time = unpack_fields('>I6I4I6I6I6I4c16I6I6', found, 24)
    local idle, known = unpack_fields('>I6', ARGV[3], 13), sub(what, 13)
    local clock = call('TIME')
    local now = clock[1] * 1000 + (clock[2] - clock[2] % 1000) / 1000
    -- As has_rewound of channel.lua.
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
          local rung = call(ARGV[1], ARGV[4], ARGV[2] .. epoch .. '\n' .. #entry .. ' ' .. entry)
          return { epoch, type(rung) == 'table' and rung or offset }
        end
        call('RPOP', KEYS[3])
      end
    end
  end
end

-- Shared beginning of the scripts that look at a channel, behind channel.lua: it is put right first where it has lost
-- something, has rewound, keeps what is too old, or has to have its lifetimes set again. Nothing is written for an unused
-- one: whoever looks at channels that nobody writes to must not fill Redis.
--
-- KEYS  1 top, 2 list (channel.lua), 3 origin (string)
-- ARGV  1 twelve characters by chance, 2 milliseconds that an idle channel is remembered, 3 a message that the log is
--       known to have had (channel.lua)

-- Returns the top as unpack_top gives it, or nil for an unused channel, then the time, whether lifetimes were due, and for an
-- unused channel the origin.
local function look()
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

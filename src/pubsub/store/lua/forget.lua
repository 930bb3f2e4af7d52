-- Removes sessions whose instance has ended without withdrawing them, unless they were announced again.
--
-- KEYS  1 sessions (hash of session to '<life> <entry as JSON>')
-- ARGV  session and life by turns
-- Returns how many were removed.

local removed = 0
for i = 1, #ARGV, 2 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  local life = ARGV[i + 1] .. ' '
  if entry and entry:sub(1, #life) == life then
    removed = removed + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return removed

-- Stores messages of any number of channels, assigns their offsets and rings the doorbells, in one step.
--
-- Messages come in runs: neighbours of one channel, stored together and rung for together. What fails in a run leaves
-- all others alone. Nothing is deleted before the first message is written: a script that has written is not held to
-- maxmemory any more. Behind channel.lua, for runs with a life marks.lua, append.lua, and for these life.lua.
--
-- KEYS  1 origin (string, four characters), then for each run: top, list (channel.lua), and the receipts of its
--       messages with an idempotency key: strings '<epoch> <offset> <id>'; in a run with a life then marks, keys, ttl
--       (marks.lua)
-- ARGV  1 'PUBLISH' or 'SPUBLISH', 2 magic of a message doorbell, 3 in bytes: twelve characters by chance, milliseconds
--       that an idle channel is remembered (6 bytes), and how long receipts are kept (6 bytes for each that differs);
--       then for each run: channel on the bus; what it is, in bytes: how many messages (1), for how many milliseconds they
--       are kept (6) and how many of them (4), for each which receipt's time is its own, or 0 (1), then a message that
--       the log is known to have had (channel.lua); then for each message '<id> <kind>\n<payload>'.
--       A run of 0 messages stores nothing, and hands one payload to whoever listens.
--       A run of 128 + 1 is one message with a life. Behind it follows what that is, in bytes: milliseconds after which it
--       expires, or 0 (6), id for a change of the marks (16), magic of a doorbell of marks (11), how many bytes a version
--       has that the marks are known to have had (1), that version, and the key of what it replaces, or nothing.
-- Returns for each run its epoch, then for each message: its offset, the receipt of the first time, or an error.

local at, key, first, last_argument = 4, 2, 1, #ARGV
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
    -- Those with a receipt are answered with it, and the others have an empty answer by now.
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

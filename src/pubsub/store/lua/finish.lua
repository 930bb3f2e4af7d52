-- Ends entries of the intake stream, in one step: acknowledged without being deleted, they would stay for ever.
--
-- KEYS  1 the stream
-- ARGV  1 the group, then the entries' ids

redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))

-- Notes a batch as open, if the tenant may have another one.
-- KEYS  1 sorted set of open batches by the time of their creation
-- ARGV  1 most batches, 2 the batch, 3 milliseconds until the note lapses, then batches that ended
-- Answers 1, or 0 where there are as many as allowed.
for place = 4, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[place])
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1

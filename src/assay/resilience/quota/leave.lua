-- Gives up a place in the queue, so that those behind need not wait until it is due.
--
-- KEYS[1]  zset   <tag>:queue
-- KEYS[2]  hash   <tag>:entries
-- ARGV[1]  owner

redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1], ARGV[1] .. ':all')

-- Gives up a place in the line, so that those behind need not wait until it is due.
--
-- KEYS[1]  zset   <tag>:line
-- KEYS[2]  hash   <tag>:tickets
-- ARGV[1]  holder

redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1], ARGV[1] .. ':all')

-- Gives a row back: to the end of the queue, or for later.
-- KEYS  1 meta, 2 queue, 3 later
-- ARGV  1 entry, 2 index, 3 key, 4 attempts so far, 5 delay in ms; 0 is at once
-- Answers 1, or 0 where the row is not in the queue any more.
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('XACK', KEYS[2], 'workers', ARGV[1]) == 0 then
  return 0
end
redis.call('XDEL', KEYS[2], ARGV[1])
if ARGV[5] == '0' then
  redis.call('XADD', KEYS[2], '*', 'i', ARGV[2], 'k', ARGV[3], 'a', ARGV[4])
  return 1
end
local due = now_ms() + ARGV[5]
redis.call('ZADD', KEYS[3], due, ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4])
redis.call('PEXPIREAT', KEYS[3], redis.call('HGET', KEYS[1], 'expires'))
redis.call('HINCRBY', KEYS[1], 'retried', 1)
return 1

-- Takes a row out of the queue until all its calls have ended.
-- KEYS  1 meta, 2 queue, 3 parked, then its calls
-- ARGV  1 entry, 2 index, 3 key, 4 attempts so far
-- Answers 1, or 0 where the row is not in the queue any more.
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('XACK', KEYS[2], 'workers', ARGV[1]) == 0 then
  return 0
end
redis.call('XDEL', KEYS[2], ARGV[1])
local row, open = ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4], 0
for place = 4, #KEYS do
  if redis.call('HGET', KEYS[place], 's') == 'waiting' then
    redis.call('HSET', KEYS[place], 'w', row)
    open = open + 1
  end
end
if open == 0 then
  redis.call('XADD', KEYS[2], '*', 'i', ARGV[2], 'k', ARGV[3], 'a', ARGV[4], 'p', 1)
  return 1
end
redis.call('HSET', KEYS[3], row, open)
redis.call('PEXPIREAT', KEYS[3], redis.call('HGET', KEYS[1], 'expires'))
redis.call('HINCRBY', KEYS[1], 'parked', 1)
return 1

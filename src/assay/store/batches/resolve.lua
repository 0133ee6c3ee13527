-- Stores how a waiting call ended, and gives the row that waits for nothing else back to the queue.
-- KEYS  1 meta, 2 queue, 3 parked, 4 call
-- ARGV  1 state, 2 answer
-- Answers {'new', details}, or {'known'} where it had ended before, or {'gone'}.
local call = redis.call('HMGET', KEYS[4], 's', 'd', 'w')
if not call[1] then
  return {'gone'}
end
if call[1] ~= 'waiting' then
  return {'known'}
end
redis.call('HSET', KEYS[4], 's', ARGV[1], 'a', ARGV[2])
redis.call('HDEL', KEYS[4], 'b')
if call[3] and redis.call('HEXISTS', KEYS[3], call[3]) == 1
  and redis.call('HINCRBY', KEYS[3], call[3], -1) <= 0 then
  redis.call('HDEL', KEYS[3], call[3])
  redis.call('HINCRBY', KEYS[1], 'parked', -1)
  local index, key, attempt = string.match(call[3], '^(%d+):(%x+):(%d+)$')
  redis.call('XADD', KEYS[2], '*', 'i', index, 'k', key, 'a', attempt, 'p', 1)
end
return {'new', call[2]}

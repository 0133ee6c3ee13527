-- Takes no more rows into a batch that grows, and ends it if all of its rows are done.
-- KEYS  1 meta, 2 queue, 3 later
-- ARGV  1 whether its webhook is to be called: 1 or 0
-- Answers 'completed', or the status of the batch: 'running' while rows are in hand, or 'missing'.
local meta = redis.call('HMGET', KEYS[1], 'status', 'total', 'settled', 'hook')
if not meta[1] then
  return 'missing'
end
redis.call('HDEL', KEYS[1], 'grows')
if meta[4] == 'waiting' and ARGV[1] ~= '1' then
  redis.call('HSET', KEYS[1], 'hook', 'none')
end
if meta[1] ~= 'running' or tonumber(meta[3]) < tonumber(meta[2]) then
  return meta[1]
end
end_batch('completed', {KEYS[2], KEYS[3]})
return 'completed'

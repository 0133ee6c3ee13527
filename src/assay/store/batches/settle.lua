-- Stores the result of a row, acknowledges the row and counts it; a second result changes nothing.
-- A batch with a seed is not completed here, but by the decision on its gates; one that grows, when
-- it is sealed.
-- KEYS  1 meta, 2 queue, 3 later, 4 done, 5 results, 6 the row's content, 7 tally, 8 groups,
--       9 order, 10 waiting
-- ARGV  1 entry, 2 index, 3 result, 4 status of the row, 5 most groups, 6 length of a rate window
--       in ms, 7 how many pairs for meta, 8 for tally, 9 for groups, 10 key of the row, 11 its
--       scores for the gates, then the pairs name, increment
-- Answers 'stored', 'known', 'completed' (stored, and it was the last) or 'missing'.
local meta = redis.call('HMGET', KEYS[1], 'status', 'total', 'expires', 'window', 'in_window',
  'seed', 'grows')
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('XACK', KEYS[2], 'workers', ARGV[1])
  redis.call('XDEL', KEYS[2], ARGV[1])
end
if not meta[1] then
  return 'missing'
end
if redis.call('SETBIT', KEYS[4], ARGV[2], 1) == 1 then
  return 'known'
end
redis.call('HSET', KEYS[5], ARGV[2], ARGV[3])
redis.call('PEXPIREAT', KEYS[5], meta[3])
redis.call('UNLINK', KEYS[6])
local place = 12
for _ = 1, ARGV[7] do
  redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1])
  place = place + 2
end
for _ = 1, ARGV[8] do
  redis.call('HINCRBY', KEYS[7], ARGV[place], ARGV[place + 1])
  place = place + 2
end
for _ = 1, ARGV[9] do
  if redis.call('HEXISTS', KEYS[8], ARGV[place]) == 1
    or redis.call('HLEN', KEYS[8]) < tonumber(ARGV[5]) then
    redis.call('HINCRBY', KEYS[8], ARGV[place], ARGV[place + 1])
  else
    redis.call('HSET', KEYS[8], '_', 1)
  end
  place = place + 2
end
redis.call('HINCRBY', KEYS[1], ARGV[4], 1)
local settled = redis.call('HINCRBY', KEYS[1], 'settled', 1)
if meta[1] ~= 'running' then
  return 'stored'
end
local now = now_ms()
local age = now - tonumber(meta[4])
if age >= tonumber(ARGV[6]) then
  local rate = string.format('%.6f', (tonumber(meta[5]) + 1) / age * 1000)
  redis.call('HSET', KEYS[1], 'rate', rate, 'window', now, 'in_window', 0)
else
  redis.call('HINCRBY', KEYS[1], 'in_window', 1)
end
if meta[6] then
  redis.call('HSET', KEYS[10], redis.call('ZRANK', KEYS[9], ARGV[10]), ARGV[11])
  redis.call('PEXPIREAT', KEYS[10], meta[3])
  return 'stored'
end
if settled < tonumber(meta[2]) or meta[7] then
  return 'stored'
end
end_batch('completed', {KEYS[2], KEYS[3]})
return 'completed'

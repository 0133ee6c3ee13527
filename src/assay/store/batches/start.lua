-- Lets workers take the rows of a batch.
-- KEYS  1 meta
-- Answers 'started', 'empty', the status of a batch that is not open, or 'missing'.
local meta = redis.call('HMGET', KEYS[1], 'status', 'total')
if not meta[1] then
  return 'missing'
end
if meta[1] ~= 'open' then
  return meta[1]
end
if tonumber(meta[2]) == 0 then
  return 'empty'
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], 'status', 'running', 'started', now, 'window', now, 'in_window', 0)
return 'started'

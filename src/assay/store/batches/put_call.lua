-- Puts a call down for a job.
-- KEYS  1 meta, 2 call, 3 calls, 4 outboxes, 5 outbox of its model
-- ARGV  1 key, 2 key of its row, 3 model, 4 request, 5 its size in bytes, 6 details
-- Answers 1, or 0 where it was there already or the batch does not run.
local meta = redis.call('HMGET', KEYS[1], 'status', 'expires')
if meta[1] ~= 'running' or redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
local now = now_ms()
redis.call('HSET', KEYS[2], 's', 'waiting', 'd', ARGV[6], 'b', ARGV[4])
redis.call('SADD', KEYS[3], ARGV[2] .. ':' .. ARGV[1])
redis.call('HSETNX', KEYS[4], ARGV[3], now)
redis.call('RPUSH', KEYS[5], ARGV[1] .. ':' .. ARGV[5])
for place = 2, 5 do
  redis.call('PEXPIREAT', KEYS[place], meta[2])
end
return 1

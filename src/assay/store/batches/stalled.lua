-- Counts a process that was ended, because its event loop stood still, while it held a row.
-- KEYS  1 meta, 2 stalls
-- ARGV  1 key of the row
-- Answers the count, or 0 where the batch is gone.
local expires = redis.call('HGET', KEYS[1], 'expires')
if not expires then
  return 0
end
local count = redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('PEXPIREAT', KEYS[2], expires)
return count

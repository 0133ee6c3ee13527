-- Keeps the answer of a request that ran.
-- KEYS[1]  the record
-- KEYS[2]  the tenant's keys
-- ARGV[1]  digest of the request
-- ARGV[2]  token of the lease
-- ARGV[3]  time to keep the answer, in milliseconds
-- ARGV[4]  the answer, packed
-- Answers 1, or 0 if another lease has the key by now.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner ~= ARGV[2] and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HDEL', KEYS[1], 'owner')
redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'answer', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1

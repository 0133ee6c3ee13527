-- Releases an idempotency key, so that the next request with it runs.
-- KEYS[1]  the record
-- KEYS[2]  the tenant's keys
-- ARGV[1]  token of the lease
-- Answers 1, or 0 if another lease has the key by now.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return 0
end
redis.call('ZREM', KEYS[2], KEYS[1])
return redis.call('DEL', KEYS[1])

-- Gives an idempotency key back, so that the next request with it runs.
-- KEYS[1]  the record
-- ARGV[1]  token of the owner
-- Answers 1, or 0 where the key is another's by now.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])

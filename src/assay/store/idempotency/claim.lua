-- Claims an idempotency key, or answers what became of the first request with it.
-- KEYS[1]  the record: a hash of `digest` and either `owner` (it runs) or `answer` (it ran)
-- ARGV[1]  digest of the request
-- ARGV[2]  token of the lease
-- ARGV[3]  lease in milliseconds
-- Answers {"claimed"}, {"running"}, {"reused"} or {"kept", answer}.
local record = redis.call('HMGET', KEYS[1], 'digest', 'answer')
if not record[1] then
  redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'owner', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'claimed'}
end
if record[1] ~= ARGV[1] then
  return {'reused'}
end
if record[2] then
  return {'kept', record[2]}
end
return {'running'}

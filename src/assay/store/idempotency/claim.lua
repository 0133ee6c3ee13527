-- Claims an idempotency key, or answers what became of the first request with it.
-- KEYS[1]  the record: a hash of `digest` and either `owner` (it runs) or `answer` (it ran)
-- KEYS[2]  the tenant's keys: a sorted set of records by the time at which they lapse
-- ARGV[1]  digest of the request
-- ARGV[2]  token of the lease
-- ARGV[3]  lease in milliseconds
-- ARGV[4]  most keys that the tenant may have; 0 is unlimited, and they are not noted
-- ARGV[5]  time to keep an answer, in milliseconds
-- Answers {"claimed"}, {"running"}, {"reused"}, {"kept", answer} or {"full"}.
local record = redis.call('HMGET', KEYS[1], 'digest', 'answer')
if not record[1] then
  local most = tonumber(ARGV[4])
  if most > 0 then
    local now = redis.call('TIME')[1] * 1000
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
    if redis.call('ZCARD', KEYS[2]) >= most then
      return {'full'}
    end
    redis.call('ZADD', KEYS[2], now + ARGV[5], KEYS[1])
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
  end
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

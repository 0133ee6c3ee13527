-- Renews the lease of a request that still runs.
-- KEYS[1]  the record
-- KEYS[2]  the tenant's keys
-- ARGV[1]  digest of the request
-- ARGV[2]  token of the lease
-- ARGV[3]  lease in milliseconds
-- Answers 1, or 0 if another lease has the key by now.
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner and redis.call('EXISTS', KEYS[1]) == 0 then
  -- The lease lapsed (a long pause, a failover) and no other took over: it is still ours.
  redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'owner', ARGV[2])
  owner = ARGV[2]
end
if owner ~= ARGV[2] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1

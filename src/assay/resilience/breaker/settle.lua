-- The result of a probe. It counts only in the generation that sent it, and only while its lease
-- lasts: what arrives later is about a provider of the past.
--
-- ARGV[3]  id of the lease
-- ARGV[4]  generation that granted it (0: unknown, the lease can only be freed)
-- ARGV[5]  success, failure, or none (the lease is freed)

local expires = redis.call('ZSCORE', KEYS[3], ARGV[3])
local ours = breaker.state == 'half_open' and breaker.generation == tonumber(ARGV[4])

if ARGV[5] == 'none' then
  redis.call('ZREM', KEYS[3], ARGV[3])
elseif ours and expires and tonumber(expires) > now then
  redis.call('ZREM', KEYS[3], ARGV[3])
  if ARGV[5] == 'failure' then
    open('probe_failed')
  else
    breaker.wins = breaker.wins + 1
    changed = true
    if breaker.wins >= policy.probes then close('probes_succeeded') end
  end
end

return reply(0)

-- A caller asks to send a probe: granted while fewer are under way, or have succeeded, than the
-- policy's number. The first to ask when the breaker is due turns it half-open.
--
-- ARGV[3]  id of the lease
-- ARGV[4]  microseconds after which a lease whose owner died is free again

if breaker.override ~= '' then return reply(0) end

if breaker.state == 'open' and now >= breaker.due then change('half_open', 'due') end

if breaker.state == 'half_open' then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('ZCARD', KEYS[3]) + breaker.wins < policy.probes then
    redis.call('ZADD', KEYS[3], now + tonumber(ARGV[4]), ARGV[3])
    redis.call('PEXPIRE', KEYS[3], STATE_KEPT_S * 1000)
    return reply(1)
  end
end

return reply(0)

-- Takes from a tenant's buckets, and a place in flight, all or nothing.
-- A bucket of a minute's limit L holds L / 10 and refills at 0.9 L a minute, so that no sliding
-- minute sees more than L. A cost above what it holds is taken once it is full, as a debt.
-- KEYS  1 requests, 2 judge calls (hashes of `balance` and `at`, in microseconds), 3 in flight (a
--       sorted set of tokens by the time that they lapse)
-- ARGV  1 requests a minute, 2 judge calls a minute, 3 places in flight; 0 is unlimited
--       4 requests, 5 judge calls, 6 token of the place or '', 7 milliseconds until it lapses
-- Answers {0}, or {which of the keys is short, microseconds until it may have enough}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local taken = {}
for place = 1, 2 do
  local limit, cost = tonumber(ARGV[place]), tonumber(ARGV[3 + place])
  if limit > 0 and cost > 0 then
    local holds, rate = math.max(limit / 10, 1), limit * 0.9 / 60000000
    local kept = redis.call('HMGET', KEYS[place], 'balance', 'at')
    local balance = holds
    if kept[1] then
      balance = math.min(holds, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * rate)
    end
    local needs = math.min(cost, holds)
    if balance + 0.000001 < needs then
      return {place, math.ceil((needs - balance) / rate)}
    end
    taken[place] = {balance - cost, math.ceil((holds - balance + cost) / rate / 1000)}
  end
end
local places = tonumber(ARGV[3])
if places > 0 and ARGV[6] ~= '' then
  local now_ms = math.floor(now / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
  if redis.call('ZCARD', KEYS[3]) >= places then
    return {3, 1000000}
  end
  redis.call('ZADD', KEYS[3], now_ms + ARGV[7], ARGV[6])
  redis.call('PEXPIRE', KEYS[3], ARGV[7])
end
for place, bucket in pairs(taken) do
  redis.call('HSET', KEYS[place], 'balance', string.format('%.6f', bucket[1]),
    'at', string.format('%d', now))
  redis.call('PEXPIRE', KEYS[place], bucket[2] + 1000)
end
return {0}

-- Reserve an estimated cost against a tenant's cap of the day (UTC, by Redis' clock).
--
-- KEYS[1]  hash    assay:v1:{cost:<tenant>}:day         day, spent_usd
-- KEYS[2]  hash    assay:v1:{cost:<tenant>}:call:<id>   day, usd
--
-- ARGV[1]  estimate in US dollars
-- ARGV[2]  cap in US dollars
-- ARGV[3]  milliseconds that the call can be settled in
--
-- Answers {1 if it fits, seconds until the next day}.

local DAY_S = 86400

local time = redis.call('TIME')
local day = math.floor(tonumber(time[1]) / DAY_S)
local rest_s = (day + 1) * DAY_S - tonumber(time[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 1, rest_s }
end
local kept = redis.call('HMGET', KEYS[1], 'day', 'spent_usd')
local spent = 0
if kept[1] and tonumber(kept[1]) >= day then
  -- A clock that jumps back does not open the day anew.
  day = tonumber(kept[1])
  spent = tonumber(kept[2])
end
local estimate = tonumber(ARGV[1])
if spent + estimate > tonumber(ARGV[2]) then
  return { 0, rest_s }
end
redis.call('HSET', KEYS[1], 'day', day, 'spent_usd', string.format('%.17g', spent + estimate))
redis.call('EXPIRE', KEYS[1], 2 * DAY_S)
redis.call('HSET', KEYS[2], 'day', day, 'usd', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return { 1, rest_s }

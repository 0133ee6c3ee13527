-- Replace a reserved cost by the real one, once, on the day that it was reserved.
--
-- KEYS[1]  hash    assay:v1:{cost:<tenant>}:day
-- KEYS[2]  hash    assay:v1:{cost:<tenant>}:call:<id>
--
-- ARGV[1]  what the call cost, in US dollars

local note = redis.call('HMGET', KEYS[2], 'day', 'usd')
if not note[1] then
  return 0
end
redis.call('DEL', KEYS[2])
local kept = redis.call('HMGET', KEYS[1], 'day', 'spent_usd')
if kept[1] ~= note[1] then
  return 0
end
local spent = tonumber(kept[2]) + tonumber(ARGV[1]) - tonumber(note[2])
redis.call('HSET', KEYS[1], 'spent_usd', string.format('%.17g', math.max(0, spent)))
return 1

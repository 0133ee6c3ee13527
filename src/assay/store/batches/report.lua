-- Keeps the faults of rows that an open batch did not take; the same fault counts once.
-- KEYS  1 meta, 2 bad
-- ARGV  1 most that are kept, then for each: digest, record
-- Answers how many are new.
if redis.call('HGET', KEYS[1], 'status') ~= 'open' then
  return 0
end
local new = 0
for place = 2, #ARGV, 2 do
  if redis.call('HLEN', KEYS[2]) > tonumber(ARGV[1]) then
    break
  end
  new = new + redis.call('HSETNX', KEYS[2], ARGV[place], ARGV[place + 1])
end
redis.call('HINCRBY', KEYS[1], 'rejected', new)
return new

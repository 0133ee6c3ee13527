-- Adds to what the judge calls of a tenant took in a day; each addition of a process counts once.
-- KEYS  1 hash of the day, 2 hash of each process's last addition
-- ARGV  1 most fields of the day, 2 milliseconds that the day is kept, 3 milliseconds that the
--       last additions are kept, 4 the process, 5 the number of its addition,
--       then for each model and criterion: its name, the name that stands for it once the day is
--       full, calls, input, output, thinking, cached and cache write tokens, and US dollars
if tonumber(redis.call('HGET', KEYS[2], ARGV[4]) or 0) >= tonumber(ARGV[5]) then
  return 0
end
local counts = {'calls', 'input_tokens', 'output_tokens', 'thinking_tokens', 'cached_tokens',
  'cache_write_tokens'}
for at = 6, #ARGV, 9 do
  local name = ARGV[at]
  if redis.call('HEXISTS', KEYS[1], name .. ':calls') == 0
    and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) then
    name = ARGV[at + 1]
  end
  for place, count in ipairs(counts) do
    redis.call('HINCRBY', KEYS[1], name .. ':' .. count, ARGV[at + 1 + place])
  end
  redis.call('HINCRBYFLOAT', KEYS[1], name .. ':cost_usd', ARGV[at + 8])
end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1

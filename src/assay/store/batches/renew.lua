-- Renews a worker's hold on rows; a row that another has taken over stays the other's.
-- KEYS  1 queue
-- ARGV  1 worker, then the entries
-- Answers how many are still the worker's.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local held = 0
for place = 2, #ARGV do
  local entry = ARGV[place]
  local pending = redis.call('XPENDING', KEYS[1], 'workers', entry, entry, 1)
  if pending[1] and pending[1][2] == ARGV[1] then
    redis.call('XCLAIM', KEYS[1], 'workers', ARGV[1], 0, entry, 'JUSTID')
    held = held + 1
  end
end
return held

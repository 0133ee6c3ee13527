-- Creates a batch.
-- KEYS  1 meta, 2 request, 3 webhook, 4 queue, 5 done, 6 ids, 7 bad, 8 tally, 9 groups
-- ARGV  1 tenant, 2 created ms, 3 expires ms, 4 request, 5 webhook or '', 6 shown, 7 uncopied if
--       it is to be copied to the records, else 0, 8 seed of a random order or '', 9 1 if it
--       takes rows until it is sealed, else ''
-- Answers 1, or 0 where it was there already.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local hook = ARGV[5] == '' and 'none' or 'waiting'
redis.call('HSET', KEYS[1], 'tenant', ARGV[1], 'status', 'open', 'created', ARGV[2],
  'expires', ARGV[3], 'total', 0, 'settled', 0, 'hook', hook, 'shown', ARGV[6],
  'kept', ARGV[7])
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], 'seed', ARGV[8])
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'grows', 1)
end
redis.call('SET', KEYS[2], ARGV[4])
if ARGV[5] ~= '' then
  redis.call('SET', KEYS[3], ARGV[5])
end
redis.call('XGROUP', 'CREATE', KEYS[4], 'workers', '0', 'MKSTREAM')
redis.call('SETBIT', KEYS[5], 0, 0)
for place = 6, 9 do
  redis.call('HSET', KEYS[place], '_', 0)
end
for place = 1, 9 do
  redis.call('PEXPIREAT', KEYS[place], ARGV[3])
end
return 1

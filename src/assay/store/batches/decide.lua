-- Stores what the finished prefix of a batch's random order says of its gates, once, and ends the
-- batch if that decides them, or if the prefix is the whole batch.
-- KEYS  1 meta, 2 rules, 3 waiting, then what only a running batch needs
-- ARGV  1 length of the prefix before, 2 after, 3 state of the rules, 4 what is known of the gates,
--       5 decided or completed, or '' to go on
-- Answers 1, or 0 if another worker was faster or the batch does not run.
local meta = redis.call('HMGET', KEYS[1], 'status', 'prefix', 'expires')
if meta[1] ~= 'running' or (meta[2] or '0') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'prefix', ARGV[2], 'gates', ARGV[4], 'deciding', 0)
if ARGV[5] == '' then
  redis.call('SET', KEYS[2], ARGV[3], 'PXAT', meta[3])
  for place = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
    redis.call('HDEL', KEYS[3], place)
  end
  return 1
end
end_batch(ARGV[5], {unpack(KEYS, 4)})
return 1

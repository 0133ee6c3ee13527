-- Lets a batch that was copied to the records expire.
-- KEYS  1 meta, then the other keys of the batch but those of rows
-- ARGV  1 expires ms
-- Answers 1, or 0 where the batch is gone.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'kept', 'copied', 'expires', ARGV[1])
for _, key in ipairs(KEYS) do
  redis.call('PEXPIREAT', key, ARGV[1])
end
return 1

-- Adds to the bytes that a batch stores, if the tenant may store as many.
-- KEYS  1 hash of bytes by batch
-- ARGV  1 most bytes of the tenant, 2 the batch, 3 bytes to add, or to take off,
--       4 milliseconds until the account lapses, then batches that are gone
-- Answers 1, or 0 where it would be too much.
for place = 5, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[place])
end
local added = tonumber(ARGV[3])
local stored = 0
for _, bytes in ipairs(redis.call('HVALS', KEYS[1])) do
  stored = stored + tonumber(bytes)
end
if added > 0 and stored + added > tonumber(ARGV[1]) then
  return 0
end
redis.call('HINCRBY', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1

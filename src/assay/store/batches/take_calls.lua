-- Notes a job and moves calls to it from the outbox of its model, in one step.
-- KEYS  1 meta, 2 outboxes, 3 outbox, 4 jobs, 5 calls of the job
-- ARGV  1 model, 2 token, 3 the job, 4 most calls, 5 most bytes
-- Answers the keys of the calls; none where there is nothing to take or the batch does not run.
local meta = redis.call('HMGET', KEYS[1], 'status', 'expires')
if meta[1] ~= 'running' then
  return {}
end
local taken, size = {}, 0
for _, entry in ipairs(redis.call('LRANGE', KEYS[3], 0, ARGV[4] - 1)) do
  local key, bytes = string.match(entry, '^(%x+):(%d+)$')
  size = size + bytes
  if #taken > 0 and size > tonumber(ARGV[5]) then
    break
  end
  taken[#taken + 1] = key
  redis.call('RPUSH', KEYS[5], key)
end
redis.call('LTRIM', KEYS[3], #taken, -1)
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('HDEL', KEYS[2], ARGV[1])
end
if #taken > 0 then
  redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
  redis.call('PEXPIREAT', KEYS[4], meta[2])
  redis.call('PEXPIREAT', KEYS[5], meta[2])
end
return taken

-- Lets workers take the rows of a batch; one that is to be copied to the records is kept for it.
-- KEYS  1 meta, then the other keys of the batch but those of rows
-- ARGV  1 expires ms of a batch that is to be copied
-- Answers 'started' or 'kept', also where it was started before; 'empty', 'missing', or the status
-- of a batch that has ended.
local meta = redis.call('HMGET', KEYS[1], 'status', 'total', 'kept')
if not meta[1] then
  return 'missing'
end
if meta[1] == 'open' then
  if tonumber(meta[2]) == 0 then
    return 'empty'
  end
  local now = now_ms()
  redis.call('HSET', KEYS[1], 'status', 'running', 'started', now, 'window', now, 'in_window', 0)
elseif meta[1] ~= 'running' then
  return meta[1]
end
if meta[3] ~= 'uncopied' then
  return 'started'
end
redis.call('HSET', KEYS[1], 'expires', ARGV[1])
for _, key in ipairs(KEYS) do
  redis.call('PEXPIREAT', key, ARGV[1])
end
return 'kept'

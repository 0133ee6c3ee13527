-- Ends a batch before its rows are done; rows in flight still get their result.
-- KEYS  1 meta, then what only a running batch needs
-- ARGV  1 cancelled or failed, 2 why
-- Answers 'ended', the status of a batch that had ended before, or 'missing'.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then
  return 'missing'
end
if status ~= 'open' and status ~= 'running' then
  return status
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], 'status', ARGV[1], 'finished', now, 'error', ARGV[2])
if redis.call('HGET', KEYS[1], 'hook') == 'waiting' then
  redis.call('HSET', KEYS[1], 'hook', 'due', 'hook_at', now)
end
redis.call('UNLINK', unpack(KEYS, 2))
return 'ended'

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
end_batch(ARGV[1], {unpack(KEYS, 2)}, ARGV[2])
return 'ended'

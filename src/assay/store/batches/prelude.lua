-- What several scripts of batches share: the clock, and the end of a batch.
-- KEYS  1 meta of the batch
local function now_ms()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- Ends the batch, lets its webhook be called, and removes what only a running batch needs.
local function end_batch(status, keys, why)
  local now = now_ms()
  redis.call('HSET', KEYS[1], 'status', status, 'finished', now)
  if why then
    redis.call('HSET', KEYS[1], 'error', why)
  end
  if redis.call('HGET', KEYS[1], 'hook') == 'waiting' then
    redis.call('HSET', KEYS[1], 'hook', 'due', 'hook_at', now)
  end
  redis.call('UNLINK', unpack(keys))
end

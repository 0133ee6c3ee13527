-- Claims the call of a webhook, or notes its outcome.
-- KEYS  1 meta, 2 webhook
-- ARGV  1 'claim', 2 ms until another worker may claim it
--    or 1 the outcome, 2 ms until the next call is due, '' for no further call
-- Answers {tries, webhook} for a claim, else {}.
local meta = redis.call('HMGET', KEYS[1], 'hook', 'hook_at')
if meta[1] ~= 'due' then
  return {}
end
local now = now_ms()
if ARGV[1] ~= 'claim' then
  if ARGV[2] == '' then
    redis.call('HSET', KEYS[1], 'hook', ARGV[1])
  else
    redis.call('HSET', KEYS[1], 'hook_at', now + ARGV[2])
  end
  return {}
end
if now < tonumber(meta[2]) then
  return {}
end
redis.call('HSET', KEYS[1], 'hook_at', now + ARGV[2])
return {redis.call('HINCRBY', KEYS[1], 'hook_tries', 1), redis.call('GET', KEYS[2])}

-- A pod shares what it counted, and its own trip; the fleet's breaker opens where either says so.
--
-- ARGV[3]  generation in which the counts were made
-- ARGV[4]  calls   ARGV[5]  failed   ARGV[6]  slow
-- ARGV[7]  reason of the pod's own trip, or empty

local ours = breaker.generation == tonumber(ARGV[3])

local function count()
  local bucket = math.floor(now / (policy.window_us / policy.buckets))
  local added = { calls = tonumber(ARGV[4]), failed = tonumber(ARGV[5]), slow = tonumber(ARGV[6]) }
  if added.calls > 0 then
    for kind, amount in pairs(added) do
      redis.call('HINCRBY', KEYS[2], string.format('%.0f', bucket) .. ':' .. kind, amount)
    end
    redis.call('PEXPIRE', KEYS[2], math.ceil(policy.window_us / 1000))
  end
  local sum = { calls = 0, failed = 0, slow = 0 }
  local fields = redis.call('HGETALL', KEYS[2])
  for i = 1, #fields, 2 do
    local at, kind = string.match(fields[i], '(%d+):(%a+)')
    if tonumber(at) <= bucket - policy.buckets then
      redis.call('HDEL', KEYS[2], fields[i])
    else
      sum[kind] = sum[kind] + tonumber(fields[i + 1])
    end
  end
  return sum
end

if breaker.state == 'closed' and ours then
  local sum = count()
  if ARGV[7] ~= '' then
    open(ARGV[7])
  elseif sum.calls >= policy.calls_min then
    if sum.failed >= policy.failed_share * sum.calls then
      open('failures')
    elseif sum.slow >= policy.slow_share * sum.calls then
      open('slow')
    end
  end
end

return reply(0)

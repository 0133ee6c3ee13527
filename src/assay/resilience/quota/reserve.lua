-- RESERVE: for each request in turn, promise a sending time and take its cost from all buckets, or
-- take nothing.
--
-- KEYS[1], KEYS[2]  see state.lua
-- KEYS[3]     zset  <tag>:queue              owners that wait, by the arrival of their first caller
-- KEYS[4]     hash  <tag>:entries            <owner>: due time and the costs of its first caller;
--                                            <owner>:all: the costs of all its callers
-- KEYS[5] on  hash  <tag>:reservation:<id>   s (promised time), slot, tenant, cost:<bucket>; one
--                                            for each request
--
-- ARGV[1]  where the policy begins (see read_policy; its amounts are unused)
-- ARGV[2]  owner           the process that asks
-- ARGV[3]  settle_ttl_ms   how long a reservation can be settled after its sending time
-- ARGV[4]  oversize        'debt' or 'refuse': a cost beyond the capacity
-- ARGV[5] on, for each request:
--   joins           1: if nothing is taken, the owner keeps a place in the queue
--   wait_max_us     the longest wait that is of use
--   lookahead_us    how far ahead of its sending time a cost may be taken; negative: take nothing,
--                   only answer the wait
--   waited_us       how long the caller has waited already, which decides its place in the queue;
--                   negative for a caller that others go before
--   tenant
--   of each bucket  the cost; ahead: the costs of the callers that wait in the same process before
--                   this one; behind: of those after it
--
-- Answers {verdict, wait_us, bucket} for each request: RESERVED, send in wait_us; DEFERRED, nothing
-- taken, it would be wait_us; TOO_LONG, the same beyond wait_max_us; NEVER, the cost does not fit.
-- `bucket` is the number of the one that binds, 0 none, -1 the provider's block.

local RESERVED, DEFERRED, TOO_LONG, NEVER = 0, 1, 2, 3
local QUEUE_MAX = 1024
local ENTRY_GRACE_US = 100000
-- Far beyond any sum of shares; the loop over their filling ends long before.
local FOREVER_S = 1e9
local FIELDS = 5

local settle_ttl_ms, refuses = tonumber(ARGV[3]), ARGV[4] == 'refuse'
local policy = read_policy(tonumber(ARGV[1]))
local state = load_state(policy)
-- A new bucket fills from its first request on, even if nothing is taken from it yet.
local changed = state.fresh

-- The request that is looked at; without an owner, it never joins the queue.
local owner, wait_max_us, lookahead_us, waited_us, tenant, taking

local function read_request(number)
  local i = 5 + (number - 1) * (FIELDS + 3 * #policy.buckets)
  owner, tenant = ARGV[i] == '1' and ARGV[2] or '', ARGV[i + 4]
  wait_max_us, lookahead_us = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  waited_us = tonumber(ARGV[i + 3])
  taking = lookahead_us >= 0
  i = i + FIELDS
  for _, bucket in ipairs(policy.buckets) do
    bucket.cost, bucket.ahead = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
    bucket.behind = tonumber(ARGV[i + 2])
    i = i + 3
  end
end

local function forget(other)
  redis.call('ZREM', KEYS[3], other)
  redis.call('HDEL', KEYS[4], other, other .. ':all')
end

local function numbers_of(field)
  local numbers = {}
  for number in string.gmatch(redis.call('HGET', KEYS[4], field) or '', '%S+') do
    numbers[#numbers + 1] = tonumber(number)
  end
  return numbers
end

-- What the owners with a place before ours are going to take. A caller whose turn it is competes
-- with the first caller of each of them, by arrival. A caller that only asks for its wait comes
-- last, after all of theirs. An owner that did not come back when it was due has died or given up.
local function taken_before_us(arrival)
  local taken, waiting = {}, 0
  if redis.call('EXISTS', KEYS[3]) == 0 then
    return taken, waiting
  end
  local before = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', exact(arrival))
  for _, other in ipairs(before) do
    if other ~= owner then
      local entry = numbers_of(other)
      if #entry == 0 or entry[1] < state.now then
        forget(other)
      else
        waiting = waiting + 1
        local all = taking and {} or numbers_of(other .. ':all')
        for i = 1, #entry - 1 do
          taken[i] = (taken[i] or 0) + (all[i] or entry[i + 1])
        end
      end
    end
  end
  return taken, waiting
end

-- Seconds from `at` until the bucket holds `cost` over and above what is set aside for other
-- tenants' guaranteed shares. What is set aside grows as well, until each share is full.
local function seconds_until(bucket, cost)
  local rate = bucket.rate * state.mult
  local free = state.level['bal:' .. bucket.name]
  local room = bucket.capacity
  local filling, growth = {}, 1
  for _, share in ipairs(policy.shares) do
    if share.tenant ~= tenant then
      local aside = state.level['share:' .. share.tenant .. ':' .. bucket.name]
      local most = bucket.capacity * share.part
      free = free - aside
      room = room - most
      if aside < most then
        filling[#filling + 1] = { full_s = (most - aside) / (rate * share.part), part = share.part }
        growth = growth - share.part
      end
    end
  end

  local need = math.min(cost, room) - free
  if need <= 0 then
    return 0
  end
  table.sort(filling, function(a, b) return a.full_s < b.full_s end)
  local passed = 0
  for _, share in ipairs(filling) do
    local gained = math.max(0, growth) * rate * (share.full_s - passed)
    if gained >= need then
      break
    end
    need = need - gained
    passed = share.full_s
    growth = growth + share.part
  end
  return math.min(FOREVER_S, passed + need / (math.max(growth, 1e-9) * rate))
end

-- Seconds from `at` until the tenant's own guaranteed share covers the whole request, which then
-- need not wait for the queue; nil where it never does.
local function seconds_until_guaranteed()
  local longest = nil
  for _, share in ipairs(policy.shares) do
    if share.tenant == tenant then
      longest = 0
      for _, bucket in ipairs(policy.buckets) do
        if bucket.cost > bucket.capacity * share.part then
          return nil
        end
        local own = state.level['share:' .. tenant .. ':' .. bucket.name]
        local seconds = (bucket.cost - own) / (bucket.rate * state.mult * share.part)
        longest = math.max(longest, seconds)
      end
    end
  end
  return longest
end

local function earliest(taken)
  local binding, send_at = 0, state.at
  if state.blocked > send_at then
    binding, send_at = -1, state.blocked
  end
  for i, bucket in ipairs(policy.buckets) do
    local before_s = (bucket.ahead + (taken[i] or 0)) / (bucket.rate * state.mult)
    local seconds = seconds_until(bucket, bucket.cost) + before_s
    local ready = state.at + math.ceil(seconds * 1000000)
    if seconds > 0 and ready > send_at then
      binding, send_at = i, ready
    end
  end
  return send_at, binding
end

-- Whether the buckets hold the costs of this caller and of all before it, who then lose nothing if
-- it goes first. Without this, a free bucket would be shared out at the pace of their questions.
local function is_enough_for_all(taken)
  for i, bucket in ipairs(policy.buckets) do
    local free = state.level['bal:' .. bucket.name]
    for _, share in ipairs(policy.shares) do
      if share.tenant ~= tenant then
        free = free - state.level['share:' .. share.tenant .. ':' .. bucket.name]
      end
    end
    if free < bucket.cost + bucket.ahead + (taken[i] or 0) then
      return false
    end
  end
  return state.blocked <= state.at
end

local function leave_queue()
  if owner ~= '' and taking then
    forget(owner)
  end
end

-- What waits in this process together with this caller: other processes foresee their waits by it.
local function note_whole_queue()
  local costs = {}
  for _, bucket in ipairs(policy.buckets) do
    costs[#costs + 1] = exact(bucket.ahead + bucket.cost + bucket.behind)
  end
  redis.call('HSET', KEYS[4], owner .. ':all', table.concat(costs, ' '))
end

local function join_queue(arrival, wait)
  if not taking and redis.call('ZSCORE', KEYS[3], owner) then
    note_whole_queue()
  end
  if owner ~= '' and taking and redis.call('ZCARD', KEYS[3]) < QUEUE_MAX then
    local due = state.now + math.max(0, wait - lookahead_us) + ENTRY_GRACE_US
    local entry = { exact(due) }
    for _, bucket in ipairs(policy.buckets) do
      entry[#entry + 1] = exact(bucket.cost)
    end
    redis.call('ZADD', KEYS[3], exact(arrival), owner)
    redis.call('HSET', KEYS[4], owner, table.concat(entry, ' '))
    note_whole_queue()
    local ttl_ms = string.format('%.0f', (due - state.now) / 1000 + 60000)
    redis.call('PEXPIRE', KEYS[3], ttl_ms)
    redis.call('PEXPIRE', KEYS[4], ttl_ms)
  end
end

local function charge(key, send_at)
  advance(state, policy, send_at)
  local reservation = { 's', exact(send_at), 'tenant', tenant }
  for _, bucket in ipairs(policy.buckets) do
    state.level['bal:' .. bucket.name] = state.level['bal:' .. bucket.name] - bucket.cost
    for _, share in ipairs(policy.shares) do
      if share.tenant == tenant then
        local field = 'share:' .. tenant .. ':' .. bucket.name
        state.level[field] = math.max(0, state.level[field] - bucket.cost)
      end
    end
    reservation[#reservation + 1] = 'cost:' .. bucket.name
    reservation[#reservation + 1] = exact(bucket.cost)
  end
  reservation[#reservation + 1] = 'slot'
  reservation[#reservation + 1] = exact(slot_of_charge(state, policy))
  redis.call('HSET', key, unpack(reservation))
  local ttl_ms = (send_at - state.now) / 1000 + settle_ttl_ms
  redis.call('PEXPIRE', key, string.format('%.0f', ttl_ms))
  changed = true
end

local function reserve(key)
  local promised = redis.call('HGET', key, 's')
  if promised then
    local wait = math.max(0, tonumber(promised) - state.now)
    return { RESERVED, math.ceil(wait), 0 }
  end
  for i, bucket in ipairs(policy.buckets) do
    if refuses and bucket.cost > bucket.capacity then
      return { NEVER, 0, i }
    end
  end

  local arrival = state.now - waited_us
  local taken, waiting = taken_before_us(arrival)
  advance(state, policy, state.now)
  local send_at, binding = earliest(taken)
  if waiting > 0 then
    local own_s = seconds_until_guaranteed()
    if own_s then
      local own_at, own_binding = earliest({})
      own_at = math.max(own_at, state.at + math.ceil(own_s * 1000000))
      if own_at <= send_at then
        waiting, send_at, binding = 0, own_at, own_binding
      end
    end
  end
  if waiting > 0 and is_enough_for_all(taken) then
    waiting, send_at, binding = 0, state.at, 0
  end
  local wait = send_at - state.now

  if wait > wait_max_us then
    leave_queue()
    return { TOO_LONG, wait, binding }
  end
  if wait > lookahead_us or waiting > 0 then
    join_queue(arrival, wait)
    return { DEFERRED, wait, binding }
  end
  leave_queue()
  charge(key, send_at)
  return { RESERVED, wait, binding }
end

local answers = {}
for number = 1, #KEYS - 4 do
  read_request(number)
  answers[number] = reserve(KEYS[4 + number])
end
if changed then
  save_state(state, policy)
end
return answers

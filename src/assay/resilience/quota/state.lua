-- The state of one model's buckets: what every quota script shares; it is put before each of them.
--
-- KEYS[1]  hash   <tag>:state   at, seen, skew, blocked, cut, mult, mult_at, slot, slot_at, first;
--                               bal:<bucket>, top:<bucket>, share:<tenant>:<bucket>
-- KEYS[2]  hash   <tag>:peaks   <bucket>:<slot % SLOTS>, the highest balance within a closed slot
--
-- Balances live on the axis of SENDING times, not of the times of requests: `at` is the latest
-- promised sending time (or now, if that is later), and a balance is what is left there. So each
-- bucket is an ordinary token bucket over the times at which its callers send, whenever they asked
-- and whatever other bucket they wait for: in any window of t seconds at most capacity + rate × t
-- is sent. A balance that is "negative now" is an `at` that lies ahead of now.
--
-- A refund must not create what was never there. To give back r of a charge made at s is as if r
-- less had been charged at s. That is true to the bucket only if the balance, raised by r ever
-- since s, would not have run over. Hence the record of peaks: r <= capacity - peak since s.
--
-- Times are microseconds of Redis' own clock, made monotonic: if it jumps back (failover), `skew`
-- makes up for it, so that no second is refilled twice and no caller waits for the old time.

local SLOT_US = 250000
local SLOTS = 256
local START_S = 1
local RECOVERY_PER_S = 0.02
local MULT_MIN = 0.1
local IDLE_TTL_US = 600000000

local FIXED = { 'at', 'seen', 'skew', 'blocked', 'cut', 'mult', 'mult_at', 'slot', 'slot_at', 'first' }

-- tostring() keeps 14 digits: too few for microseconds.
local function exact(value)
  return string.format('%.17g', value)
end

local function each_level(policy, visit)
  for _, bucket in ipairs(policy.buckets) do
    visit('bal:' .. bucket.name)
    visit('top:' .. bucket.name)
    for _, share in ipairs(policy.shares) do
      visit('share:' .. share.tenant .. ':' .. bucket.name)
    end
  end
end

-- Reads the policy from ARGV[first] on: how many buckets; of each its name, capacity, rate per
-- second and an amount; then the guaranteed shares to the end, each as tenant and part of the rate.
local function read_policy(first)
  local policy = { buckets = {}, shares = {} }
  local count = tonumber(ARGV[first])
  local i = first + 1
  for _ = 1, count do
    policy.buckets[#policy.buckets + 1] = {
      name = ARGV[i],
      capacity = tonumber(ARGV[i + 1]),
      rate = tonumber(ARGV[i + 2]),
      cost = tonumber(ARGV[i + 3]),
    }
    i = i + 4
  end
  while i < #ARGV do
    policy.shares[#policy.shares + 1] = { tenant = ARGV[i], part = tonumber(ARGV[i + 1]) }
    i = i + 2
  end
  return policy
end

local function levels_of_new(policy, level)
  for _, bucket in ipairs(policy.buckets) do
    local start = math.min(bucket.capacity, bucket.rate * START_S)
    local balance = level['bal:' .. bucket.name]
    if not balance then
      balance = start
      level['bal:' .. bucket.name] = balance
    end
    level['top:' .. bucket.name] = level['top:' .. bucket.name] or bucket.capacity
    for _, share in ipairs(policy.shares) do
      local field = 'share:' .. share.tenant .. ':' .. bucket.name
      level[field] = level[field] or math.max(0, math.min(start, balance)) * share.part
    end
  end
end

local function load_state(policy)
  local fields = {}
  for i, name in ipairs(FIXED) do
    fields[i] = name
  end
  each_level(policy, function(field)
    fields[#fields + 1] = field
  end)
  local values = redis.call('HMGET', KEYS[1], unpack(fields))
  local state = { level = {} }
  for i, field in ipairs(fields) do
    local value = values[i] and tonumber(values[i]) or nil
    if i <= #FIXED then
      state[field] = value
    else
      state.level[field] = value
    end
  end

  local time = redis.call('TIME')
  local clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
  state.skew = math.max(state.skew or 0, (state.seen or clock) - clock)
  state.now = clock + state.skew
  state.seen = state.now
  state.fresh = not state.at
  state.at = state.at or state.now
  state.blocked = state.blocked or 0
  state.cut = state.cut or 0
  state.mult_at = state.mult_at or state.now
  local recovered = (state.now - state.mult_at) / 1000000 * RECOVERY_PER_S
  state.mult = math.min(1, (state.mult or 1) + recovered)
  state.mult_at = state.now
  state.slot = state.slot or 0
  state.slot_at = state.slot_at or state.at
  state.first = state.first or state.slot
  levels_of_new(policy, state.level)
  return state
end

-- Refills every bucket and share up to the time `to` and notes the peak that this reaches.
local function advance(state, policy, to)
  if to <= state.at then
    return
  end
  local seconds = (to - state.at) / 1000000
  local level = state.level
  for _, bucket in ipairs(policy.buckets) do
    local refill = bucket.rate * state.mult * seconds
    local balance = math.min(bucket.capacity, level['bal:' .. bucket.name] + refill)
    level['bal:' .. bucket.name] = balance
    level['top:' .. bucket.name] = math.max(level['top:' .. bucket.name], balance)
    for _, share in ipairs(policy.shares) do
      local field = 'share:' .. share.tenant .. ':' .. bucket.name
      level[field] = math.min(bucket.capacity * share.part, level[field] + refill * share.part)
    end
  end
  state.at = to
end

-- Called right after a charge: where the current slot is old enough, closes it and opens the
-- next with the balance after the charge. Answers the slot that the charge belongs to.
local function slot_of_charge(state, policy)
  if state.at - state.slot_at < SLOT_US and state.slot > state.first then
    return state.slot
  end
  local closed = {}
  for _, bucket in ipairs(policy.buckets) do
    closed[#closed + 1] = bucket.name .. ':' .. (state.slot % SLOTS)
    closed[#closed + 1] = exact(state.level['top:' .. bucket.name])
    state.level['top:' .. bucket.name] = state.level['bal:' .. bucket.name]
  end
  redis.call('HSET', KEYS[2], unpack(closed))
  state.slot = state.slot + 1
  state.slot_at = state.at
  return state.slot
end

local function save_state(state, policy)
  local fields = {}
  for _, name in ipairs(FIXED) do
    fields[#fields + 1] = name
    fields[#fields + 1] = exact(state[name])
  end
  each_level(policy, function(field)
    fields[#fields + 1] = field
    fields[#fields + 1] = exact(state.level[field])
  end)
  redis.call('HSET', KEYS[1], unpack(fields))

  -- The state may go only when a new one would be no more generous: blocks over, buckets full.
  local full = 0
  for _, bucket in ipairs(policy.buckets) do
    local missing = bucket.capacity - state.level['bal:' .. bucket.name]
    full = math.max(full, missing / (bucket.rate * MULT_MIN) * 1000000)
  end
  local ahead = math.max(state.at, state.blocked) - state.now
  local ttl_ms = string.format('%.0f', (math.max(0, ahead) + full + IDLE_TTL_US) / 1000)
  redis.call('PEXPIRE', KEYS[1], ttl_ms)
  redis.call('PEXPIRE', KEYS[2], ttl_ms)
end

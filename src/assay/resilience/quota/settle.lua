-- SETTLE: replace what reservations were charged by what they really cost.
--
-- KEYS[1], KEYS[2]  see state.lua
-- KEYS[3] on  hash  <tag>:reservation:<id>; its absence makes a second settlement do nothing
--
-- ARGV[1]  where the policy begins (see read_policy; its amounts are unused)
-- ARGV[2] on  for each reservation, the ACTUAL cost by each bucket; 0: not sent, -1: as charged
--
-- Answers how many reservations were settled: those that were still there.

local first = tonumber(ARGV[1])
local policy = read_policy(first)
local state = nil

local function ring_fields(bucket, slot)
  local fields = {}
  for number = slot, state.slot - 1 do
    fields[#fields + 1] = bucket.name .. ':' .. (number % SLOTS)
  end
  return fields
end

-- Shifts the balance, and every peak since the charge, as if `more` had been charged then.
local function charge_since(bucket, slot, more)
  local top = 'top:' .. bucket.name
  local fields = ring_fields(bucket, slot)
  local peaks = #fields > 0 and redis.call('HMGET', KEYS[2], unpack(fields)) or {}
  local peak = state.level[top]
  for i = 1, #fields do
    peak = math.max(peak, peaks[i] and tonumber(peaks[i]) or bucket.capacity)
  end
  if more < 0 then
    more = -math.max(0, math.min(-more, bucket.capacity - peak))
  end
  state.level['bal:' .. bucket.name] = state.level['bal:' .. bucket.name] - more
  -- Since the bucket last ran over, its level does not depend on this charge.
  if more == 0 or peak >= bucket.capacity then
    return more
  end
  state.level[top] = state.level[top] - more
  if #fields > 0 then
    local raised = {}
    for i, field in ipairs(fields) do
      raised[#raised + 1] = field
      raised[#raised + 1] = exact(tonumber(peaks[i]) - more)
    end
    redis.call('HSET', KEYS[2], unpack(raised))
  end
  return more
end

local function settle(reservation, actual)
  local slot = tonumber(reservation.slot)
  local oldest = math.max(state.first + 1, state.slot - SLOTS + 1)
  for number, bucket in ipairs(policy.buckets) do
    local charged = tonumber(reservation['cost:' .. bucket.name])
    local cost = actual[number]
    if charged and cost >= 0 then
      local more = cost - charged
      if more > 0 and slot < oldest then
        state.level['bal:' .. bucket.name] = state.level['bal:' .. bucket.name] - more
      elseif more ~= 0 and slot >= oldest then
        more = charge_since(bucket, slot, more)
      else
        more = 0
      end
      -- What is set aside for a tenant follows its real use, and never more than is there.
      for _, share in ipairs(policy.shares) do
        if share.tenant == reservation.tenant then
          local field = 'share:' .. share.tenant .. ':' .. bucket.name
          local most = bucket.capacity * share.part
          state.level[field] = math.max(0, math.min(most, state.level[field] - more))
        end
      end
    end
  end
end

local settled = 0
for key = 3, #KEYS do
  local fields = redis.call('HGETALL', KEYS[key])
  if #fields > 0 then
    redis.call('DEL', KEYS[key])
    if not state then
      state = load_state(policy)
      advance(state, policy, state.now)
    end
    local reservation = {}
    for i = 1, #fields, 2 do
      reservation[fields[i]] = fields[i + 1]
    end
    local actual = {}
    for number = 1, #policy.buckets do
      actual[number] = tonumber(ARGV[1 + (key - 3) * #policy.buckets + number])
    end
    settle(reservation, actual)
    settled = settled + 1
  end
end
if state then
  save_state(state, policy)
end
return settled

-- COMMIT and CANCEL: replace what a reservation was charged by what it really cost.
--
-- KEYS[1], KEYS[2]  see quota_state.lua
-- KEYS[3]  hash  <tag>:reservation:<id>; its absence makes a second settlement do nothing
--
-- ARGV[1]  the policy (see read_policy); amount: the ACTUAL cost (0 in all: CANCEL; -1: as charged)
--
-- Answers 1 if the reservation was settled, 0 if there was none (any more).

local policy = read_policy(1)
local note = redis.call('HGETALL', KEYS[3])
if #note == 0 then
  return 0
end
redis.call('DEL', KEYS[3])
local reservation = {}
for i = 1, #note, 2 do
  reservation[note[i]] = note[i + 1]
end

local state = load_state(policy)
advance(state, policy, state.now)
local slot = tonumber(reservation.slot)
local oldest = math.max(state.first + 1, state.slot - SLOTS + 1)

local function ring_fields(bucket)
  local fields = {}
  for number = slot, state.slot - 1 do
    fields[#fields + 1] = bucket.name .. ':' .. (number % SLOTS)
  end
  return fields
end

-- Shifts the balance, and every peak since the charge, as if `more` had been charged then.
local function charge_since(bucket, more)
  local top = 'top:' .. bucket.name
  local fields = ring_fields(bucket)
  local peaks = #fields > 0 and redis.call('HMGET', KEYS[2], unpack(fields)) or {}
  local peak = state.level[top]
  for i = 1, #fields do
    peak = math.max(peak, peaks[i] and tonumber(peaks[i]) or bucket.capacity)
  end
  if more < 0 then
    more = -math.max(0, math.min(-more, bucket.capacity - peak))
  end
  state.level['bal:' .. bucket.name] = state.level['bal:' .. bucket.name] - more
  -- After running over once, the path since then owes nothing to this charge.
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

for _, bucket in ipairs(policy.buckets) do
  local charged = tonumber(reservation['cost:' .. bucket.name])
  if charged and bucket.cost >= 0 then
    local more = bucket.cost - charged
    if more > 0 and slot < oldest then
      state.level['bal:' .. bucket.name] = state.level['bal:' .. bucket.name] - more
    elseif more ~= 0 and slot >= oldest then
      more = charge_since(bucket, more)
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
save_state(state, policy)
return 1

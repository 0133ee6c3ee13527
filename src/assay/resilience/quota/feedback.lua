-- What the provider says: a 429 with its wait, or what is left of the quota.
--
-- KEYS[1], KEYS[2]  see state.lua
-- KEYS[3]  hash  <tag>:reservation:<id> of the request that was answered
--
-- ARGV[1]  1 for a 429, else 0
-- ARGV[2]  retry_after_us, 0 where the provider named none
-- ARGV[3]  the policy (see read_policy); amount: what is LEFT by the provider's count (-1: unknown)
--
-- Answers {mult in millionths, microseconds until the block ends}.

local MULT_CUT = 0.7

local policy = read_policy(3)
local state = load_state(policy)
advance(state, policy, state.now)

if ARGV[1] == '1' then
  local sent = tonumber(redis.call('HGET', KEYS[3], 's') or state.now)
  -- A refusal of what was sent before the last cut or block says nothing new about the rate.
  if sent > state.cut then
    state.mult = math.max(MULT_MIN, state.mult * MULT_CUT)
    state.cut = math.max(state.now, state.at)
  end
  state.blocked = math.max(state.blocked, state.now + tonumber(ARGV[2]))
end

for _, bucket in ipairs(policy.buckets) do
  if bucket.cost >= 0 then
    -- Only downward: the provider has not yet counted what is still on its way to it.
    local field = 'bal:' .. bucket.name
    local promised_s = math.max(0, state.at - state.now) / 1000000
    local left_now = state.level[field] - bucket.rate * state.mult * promised_s
    state.level[field] = state.level[field] - math.max(0, left_now - bucket.cost)
  end
end
save_state(state, policy)
return {
  math.floor(state.mult * 1000000 + 0.5),
  math.max(0, math.ceil(state.blocked - state.now)),
}

-- RECOVER: take what a process sent from its own share while Redis did not answer it.
--
-- KEYS[1], KEYS[2]  see state.lua
--
-- ARGV[1]  the policy (see read_policy); amount: what the process took
--
-- The buckets have refilled meanwhile as if nothing had been sent, and a full burst would come on
-- top of it. All processes together took at most 0.8 of the rate, so a bucket that was not in debt
-- held no less than nothing: it is not charged below that, however long the outage was, and however
-- often this is repeated.

local policy = read_policy(1)
local state = load_state(policy)
advance(state, policy, state.now)

for _, bucket in ipairs(policy.buckets) do
  local field = 'bal:' .. bucket.name
  local balance = state.level[field]
  state.level[field] = math.max(math.min(balance, 0), balance - bucket.cost)
end
save_state(state, policy)
return 0

-- What is left in each bucket now, for display; changes nothing.
--
-- KEYS[1], KEYS[2]  see state.lua
-- ARGV[1]  the policy (see read_policy); amounts unused
--
-- Answers {mult in millionths, left in millionths of each bucket...}; negative is debt or promised.

local policy = read_policy(1)
local state = load_state(policy)
advance(state, policy, state.now)
local answer = { math.floor(state.mult * 1000000 + 0.5) }
local promised_s = (state.at - state.now) / 1000000
for _, bucket in ipairs(policy.buckets) do
  local left = state.level['bal:' .. bucket.name] - bucket.rate * state.mult * promised_s
  answer[#answer + 1] = math.floor(left * 1000000 + 0.5)
end
return answer

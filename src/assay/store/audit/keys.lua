-- What changed among the API keys since the last look of any process, so that only one reports it.
--
-- KEYS[1]  hash: the known keys, each with its description; the field '' marks that there was a look
-- ARGV     fingerprint and description of each key that is allowed now
--
-- Returns a flat list of change ('added', 'removed', 'changed'), fingerprint and description. The
-- first look of all reports nothing.

local known, allowed, changes = {}, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do known[fields[i]] = fields[i + 1] end
local first = known[''] == nil
known[''] = nil

local function report(change, fingerprint, description)
  for _, part in ipairs({change, fingerprint, description}) do changes[#changes + 1] = part end
end

redis.call('HSET', KEYS[1], '', '1')
for i = 1, #ARGV, 2 do
  local fingerprint, description = ARGV[i], ARGV[i + 1]
  allowed[fingerprint] = true
  if known[fingerprint] ~= description then
    redis.call('HSET', KEYS[1], fingerprint, description)
    if not first then
      report(known[fingerprint] and 'changed' or 'added', fingerprint, description)
    end
  end
end
for i = 1, #fields, 2 do
  local fingerprint = fields[i]
  if known[fingerprint] and not allowed[fingerprint] then
    redis.call('HDEL', KEYS[1], fingerprint)
    report('removed', fingerprint, known[fingerprint])
  end
end
return changes

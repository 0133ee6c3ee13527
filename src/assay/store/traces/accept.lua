-- Keeps spans for rules until their groups are due, and counts all that were sent.
-- KEYS  1 hash of counts, 2 list of spans that were not understood, then for each span to keep:
--       the sorted set of groups by the time when they are due, and the hash of its group
-- ARGV  1 kept ms, 2 most groups of a rule, 3 most spans of a group, 4 most bytes of a group, 5 most
--       entries of the list, 6 number of counts, 7 number of entries, then counts as name, number,
--       then entries, then for each span to keep: group, wait ms, NX, LT or GT, its id, its content
-- Answers how many spans there was no room for.
local place = 8
for _ = 1, ARGV[6] do
  redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1])
  place = place + 2
end
for _ = 1, ARGV[7] do
  redis.call('LPUSH', KEYS[2], ARGV[place])
  place = place + 1
end
redis.call('LTRIM', KEYS[2], 0, ARGV[5] - 1)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local full = 0
for key = 3, #KEYS, 2 do
  local due, group = KEYS[key], KEYS[key + 1]
  local member, wait, moves = ARGV[place], tonumber(ARGV[place + 1]), ARGV[place + 2]
  local span, content = ARGV[place + 3], ARGV[place + 4]
  place = place + 5
  local state = redis.call('HMGET', group, 'done', span, 'bytes')
  if state[1] then -- judged: a late or repeated span
  elseif not state[2] and (
    redis.call('ZCARD', due) >= tonumber(ARGV[2])
    or redis.call('HLEN', group) > tonumber(ARGV[3])
    or tonumber(state[3] or 0) + #content > tonumber(ARGV[4])) then
    full = full + 1
  else
    if not state[2] then
      redis.call('HSET', group, span, content)
      redis.call('HINCRBY', group, 'bytes', #content)
    end
    redis.call('ZADD', due, moves, now + wait, member)
    redis.call('PEXPIRE', group, ARGV[1])
    redis.call('PEXPIRE', due, ARGV[1])
  end
end
return full

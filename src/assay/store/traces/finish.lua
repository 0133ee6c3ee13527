-- Forgets groups that are rows now, or are skipped; what is left of one says that it was judged.
-- KEYS  1 sorted set of groups by the time when they are due, 2 state of the rule, then the groups
-- ARGV  1 ms for which a judged group is known, 2 minute, 3 rows of this minute, 4 ms for
--       which the state is known, 5 number of counts, then the counts as name, number, then the name of each group
-- Answers 1.
local place = 6
for _ = 1, ARGV[5] do
  redis.call('HINCRBY', KEYS[2], ARGV[place], ARGV[place + 1])
  place = place + 2
end
redis.call('HSET', KEYS[2], 'minute', ARGV[2], 'in_minute', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
for key = 3, #KEYS do
  redis.call('ZREM', KEYS[1], ARGV[place + key - 3])
  redis.call('UNLINK', KEYS[key])
  redis.call('HSET', KEYS[key], 'done', 1)
  redis.call('PEXPIRE', KEYS[key], ARGV[1])
end
return 1

-- What every breaker script shares; it is put before each of them.
--
-- KEYS[1]  hash: state, generation, due, openings, override, wins, reason
-- KEYS[2]  hash: calls, failed and slow calls of each bucket of the window
-- KEYS[3]  sorted set: leases of the probes under way, by the time they expire
-- ARGV[1]  policy as JSON: window_us, buckets, calls_min, failed_share, slow_share, open_us,
--          open_max_us, probes
-- ARGV[2]  jitter, a factor near 1
--
-- Times are microseconds of Redis' own clock. A generation is the time of the change that began
-- it, so that it keeps growing when Redis has lost what it knew; 0 is a breaker that Redis does not know.

local STATE_KEPT_S = 3600
local DOUBLINGS_MAX = 16

local policy = cjson.decode(ARGV[1])
local jitter = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local kept = redis.call(
  'HMGET', KEYS[1], 'state', 'generation', 'due', 'openings', 'override', 'wins', 'reason')
local breaker = {
  state = kept[1] or 'closed',
  generation = tonumber(kept[2] or '0'),
  due = tonumber(kept[3] or '0'),
  openings = tonumber(kept[4] or '0'),
  override = kept[5] or '',
  wins = tonumber(kept[6] or '0'),
  reason = kept[7] or '',
}
local changed = false

local function change(state, reason)
  breaker.state = state
  breaker.reason = reason
  breaker.generation = math.max(breaker.generation + 1, now)
  breaker.wins = 0
  changed = true
  redis.call('DEL', KEYS[2], KEYS[3])
end

local function open(reason)
  local doubled = policy.open_us * 2 ^ math.min(breaker.openings, DOUBLINGS_MAX)
  breaker.due = now + math.min(doubled * jitter, policy.open_max_us)
  breaker.openings = breaker.openings + 1
  change('open', reason)
end

local function close(reason)
  breaker.openings = 0
  change('closed', reason)
end

-- Answers: state (an operator's before the breaker's own), generation, microseconds until it is
-- due, openings in a row, reason, and 1 where a lease was granted.
local function reply(granted)
  if changed then
    redis.call('HSET', KEYS[1],
      'state', breaker.state,
      'generation', string.format('%.0f', breaker.generation),
      'due', string.format('%.0f', breaker.due),
      'openings', breaker.openings,
      'override', breaker.override,
      'wins', breaker.wins,
      'reason', breaker.reason)
    if breaker.override == '' then
      redis.call('EXPIRE', KEYS[1], STATE_KEPT_S)
    else
      redis.call('PERSIST', KEYS[1])
    end
  end
  local state = breaker.state
  if breaker.override ~= '' then state = breaker.override end
  return {
    state,
    string.format('%.0f', breaker.generation),
    string.format('%.0f', math.max(breaker.due - now, 0)),
    breaker.openings,
    breaker.reason,
    granted,
  }
end

-- Gives rows to a worker: due retries first, then those of dead workers, then new ones.
-- In a batch with a seed, new rows come from its random order. While one worker decides on its
-- gates, the others get rows until too many finished ones wait for this.
-- KEYS  1 meta, 2 queue, 3 later, 4 done, 5 stalls, 6 ids, 7 order, 8 waiting
-- ARGV  1 worker, 2 how many, 3 lease in ms: a row not renewed for so long is another's,
--       4 time in ms that a worker has to decide on gates, 5 most rows that wait for this
-- Answers {'missing'}, {status}, {'due'}: the worker is to decide on the gates, or {'running',
-- {entry, index, key, attempt, deliveries, stalls, 1 if it waited for calls}, ...}.
local meta = redis.call('HMGET', KEYS[1], 'status', 'seed', 'drawn', 'prefix', 'deciding')
local status, seed = meta[1], meta[2]
if not status then
  return {'missing'}
end
if status ~= 'running' then
  return {status}
end
local now = now_ms()
local wanted = tonumber(ARGV[2])
local due = seed and redis.call('HEXISTS', KEYS[8], meta[4] or 0) == 1
if due and now >= tonumber(meta[5] or 0) then
  redis.call('HSET', KEYS[1], 'deciding', now + ARGV[4])
  return {'due'}
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, wanted)) do
  local index, key, attempt = string.match(member, '^(%d+):(%x+):(%d+)$')
  redis.call('ZREM', KEYS[3], member)
  redis.call('XADD', KEYS[2], '*', 'i', index, 'k', key, 'a', attempt)
end
local answer = {'running'}
local function take(entry, fields, deliveries)
  local row = {}
  for place = 1, #fields, 2 do
    row[fields[place]] = fields[place + 1]
  end
  if redis.call('GETBIT', KEYS[4], row.i) == 1 then
    redis.call('XACK', KEYS[2], 'workers', entry)
    redis.call('XDEL', KEYS[2], entry)
  else
    local stalls = redis.call('HGET', KEYS[5], row.k) or 0
    answer[#answer + 1] = {entry, row.i, row.k, row.a, deliveries, stalls, row.p or 0}
  end
end
for _, lapsed in ipairs(
  redis.call('XPENDING', KEYS[2], 'workers', 'IDLE', ARGV[3], '-', '+', wanted)) do
  local entries = redis.call('XCLAIM', KEYS[2], 'workers', ARGV[1], ARGV[3], lapsed[1])
  if entries[1] then
    take(entries[1][1], entries[1][2], lapsed[4])
  end
end
local function read_queue()
  local left = wanted - (#answer - 1)
  local read = left > 0 and redis.call('XREADGROUP', 'GROUP', 'workers', ARGV[1], 'COUNT', left,
    'STREAMS', KEYS[2], '>')
  if read then
    for _, entry in ipairs(read[1][2]) do
      take(entry[1], entry[2], 0)
    end
  end
  return wanted - (#answer - 1)
end
local left = read_queue()
if seed and left > 0 and not (due and redis.call('HLEN', KEYS[8]) >= tonumber(ARGV[5])) then
  local drawn = tonumber(meta[3] or 0)
  local keys = redis.call('ZRANGE', KEYS[7], drawn, drawn + left - 1)
  for _, key in ipairs(keys) do
    local index = string.match(redis.call('HGET', KEYS[6], key), '^%d+')
    redis.call('XADD', KEYS[2], '*', 'i', index, 'k', key, 'a', 0)
  end
  redis.call('HSET', KEYS[1], 'drawn', drawn + #keys)
  read_queue()
end
return answer

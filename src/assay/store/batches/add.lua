-- Adds rows to a batch that is open, or that grows while it runs; a row that is known by its key is not added again.
-- A batch with a seed keeps its rows in random order: by a hash of the seed and the row's key.
-- KEYS  1 meta, 2 ids, 3 queue, 4 order, then the key of each row's content
-- ARGV  1 most rows of a batch, then for each row: key, digest of content, content
-- Answers {'missing'}, {'closed', status}, or {'ok', verdict, ...}: new, known, conflict or full.
local meta = redis.call('HMGET', KEYS[1], 'status', 'total', 'expires', 'seed', 'grows')
if not meta[1] then
  return {'missing'}
end
if meta[1] ~= 'open' and not (meta[1] == 'running' and meta[5]) then
  return {'closed', meta[1]}
end
local total = tonumber(meta[2])
local answer = {'ok'}
for row = 1, #KEYS - 4 do
  local key, digest, content = ARGV[3 * row - 1], ARGV[3 * row], ARGV[3 * row + 1]
  local known = redis.call('HGET', KEYS[2], key)
  if known then
    answer[row + 1] = string.sub(known, -#digest) == digest and 'known' or 'conflict'
  elseif total >= tonumber(ARGV[1]) then
    answer[row + 1] = 'full'
  else
    redis.call('SET', KEYS[4 + row], content, 'PXAT', meta[3])
    redis.call('HSET', KEYS[2], key, total .. ':' .. digest)
    if meta[4] then
      local hash = tonumber(string.sub(redis.sha1hex(meta[4] .. ':' .. key), 1, 13), 16)
      redis.call('ZADD', KEYS[4], string.format('%.0f', hash), key)
    else
      redis.call('XADD', KEYS[3], '*', 'i', total, 'k', key, 'a', 0)
    end
    total = total + 1
    answer[row + 1] = 'new'
  end
end
redis.call('HSET', KEYS[1], 'total', total)
if meta[4] then
  redis.call('PEXPIREAT', KEYS[4], meta[3])
end
return answer

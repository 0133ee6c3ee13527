-- Adds rows to an open batch; a row that is known by its key is not added again.
-- KEYS  1 meta, 2 ids, 3 queue, then the key of each row's content
-- ARGV  1 most rows of a batch, then for each row: key, digest of content, content
-- Answers {'missing'}, {'closed', status}, or {'ok', verdict, ...}: new, known, conflict or full.
local meta = redis.call('HMGET', KEYS[1], 'status', 'total', 'expires')
if not meta[1] then
  return {'missing'}
end
if meta[1] ~= 'open' then
  return {'closed', meta[1]}
end
local total = tonumber(meta[2])
local answer = {'ok'}
for row = 1, #KEYS - 3 do
  local key, digest, content = ARGV[3 * row - 1], ARGV[3 * row], ARGV[3 * row + 1]
  local known = redis.call('HGET', KEYS[2], key)
  if known then
    answer[row + 1] = string.sub(known, -#digest) == digest and 'known' or 'conflict'
  elseif total >= tonumber(ARGV[1]) then
    answer[row + 1] = 'full'
  else
    redis.call('SET', KEYS[3 + row], content, 'PXAT', meta[3])
    redis.call('HSET', KEYS[2], key, total .. ':' .. digest)
    redis.call('XADD', KEYS[3], '*', 'i', total, 'k', key, 'a', 0)
    total = total + 1
    answer[row + 1] = 'new'
  end
end
redis.call('HSET', KEYS[1], 'total', total)
return answer

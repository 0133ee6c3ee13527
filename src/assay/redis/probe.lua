-- Proves that the node of this hash tag can be written to: a replica or a full server cannot.
--
-- KEYS[1]  string  a key of the tag, for nothing but the probe

return redis.call('SET', KEYS[1], '1', 'PX', 1000)

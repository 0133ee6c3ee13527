-- An operator holds the breaker open, switches it off, or gives it back to itself.
--
-- ARGV[3]  forced_open, disabled, or reset

breaker.override = ARGV[3]
if ARGV[3] == 'reset' then breaker.override = '' end
close('operator')

return reply(0)

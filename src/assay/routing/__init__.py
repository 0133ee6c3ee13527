"""Which models may answer for a judge, in which order, and when the next one is asked."""

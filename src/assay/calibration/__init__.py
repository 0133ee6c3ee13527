"""The statistics of judges: how far they agree with people, and what follows from it."""

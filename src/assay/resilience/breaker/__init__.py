"""Circuit breakers: one for each model, acting as one across all processes."""

"""Metrics and logs: they subscribe to domain events, and no code that emits events imports them."""

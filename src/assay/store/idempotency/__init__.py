"""Idempotency records in Redis, one for each tenant and key."""

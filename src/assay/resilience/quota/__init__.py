"""The providers' quotas: token buckets in Redis, shared by all processes."""

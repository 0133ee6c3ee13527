"""Redis behind ports: idempotency, usage, and batches with their queue and results."""

"""Redis behind ports: idempotency, and batches with their queue and results."""

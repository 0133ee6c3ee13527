"""/v1/batches: batches, their items, results and progress."""

"""Batches in Redis: their rows, the queue of rows, and the results."""

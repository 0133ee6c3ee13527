"""Batches of rows: the worker, one row, the summary and the webhooks."""

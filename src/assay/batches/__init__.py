"""Rows in bulk: the worker, the rows, the summary and the webhooks."""

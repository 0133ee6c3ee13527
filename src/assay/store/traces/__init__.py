"""Spans that wait to be judged."""

"""Batches."""

PAGES = ()

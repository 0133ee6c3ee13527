"""Criteria that ask a model."""

"""Criteria whose verdicts follow from those of others."""

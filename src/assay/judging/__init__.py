"""Asks judges: one call or many, and what their replies add up to."""

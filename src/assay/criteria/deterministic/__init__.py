"""Criteria that need no judge: each is a pure function of the case."""

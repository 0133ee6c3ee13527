"""Criteria that are computed: pure functions of the case."""

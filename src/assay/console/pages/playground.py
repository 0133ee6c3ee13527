"""Playground: one case, judged at once."""

PAGES = ()

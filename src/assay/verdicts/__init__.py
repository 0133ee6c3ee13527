"""Reads a judge's words as a score or a label."""

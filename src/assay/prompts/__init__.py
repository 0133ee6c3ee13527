"""Prompt templates, and how untrusted content is shown to a judge."""

"""Assay: an evaluation service for the outputs of language models."""

__version__ = "0.9.0"

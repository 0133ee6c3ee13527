"""Traces in: OTLP over HTTP, an adapter over the same use cases as our own contract."""

"""ASGI plumbing that knows nothing of evaluations."""

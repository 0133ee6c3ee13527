"""The one way to Redis: clients, scripts, time budgets, outages, and a private server."""

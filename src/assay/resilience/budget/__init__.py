"""Cost budgets of tenants, kept in Redis."""

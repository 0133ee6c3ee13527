"""What tenants use, in Redis: rates, places in flight and stored bytes."""

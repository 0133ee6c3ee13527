"""What tenants' judge calls take."""

"""Values and ports: what the service is about, free of any technology."""

"""The client; `bin/sync-client` makes `assay.client.synchronous` from this package."""

"""Made from `assay.client.asynchronous` by bin/sync-client: change it there."""

"""The HTTP client of the API, on which the command line is built."""

from assay.client.batches import BatchClient, RowUpload
from assay.client.errors import ServiceError
from assay.client.http import ApiKey, Client, RetryPolicy
from assay.client.ordered import for_each_in_order

__all__ = [
    "ApiKey",
    "BatchClient",
    "Client",
    "RetryPolicy",
    "RowUpload",
    "ServiceError",
    "for_each_in_order",
]

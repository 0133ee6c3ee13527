"""The public Python client, `Assay` and `AsyncAssay`, on which the command line is built."""

from assay.client.asynchronous.batches import AsyncBatchHandle
from assay.client.asynchronous.client import AsyncAssay
from assay.client.ordered import for_each_in_order
from assay.client.results import CriterionVerdict, EvaluationResult
from assay.client.synchronous.batches import BatchHandle
from assay.client.synchronous.client import Assay
from assay.client.wire import RetryPolicy

__all__ = [
    "Assay",
    "AsyncAssay",
    "AsyncBatchHandle",
    "BatchHandle",
    "CriterionVerdict",
    "EvaluationResult",
    "RetryPolicy",
    "for_each_in_order",
]

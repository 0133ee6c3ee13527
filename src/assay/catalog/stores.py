"""The stores of records, which are opened at the first use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from assay.domain.records import (
    DatasetStore,
    EvaluatorStore,
    LabelStore,
    RecordEraser,
    RecordsUnavailable,
)


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores of one database."""

    evaluators: EvaluatorStore
    datasets: DatasetStore
    labels: LabelStore
    eraser: RecordEraser


OpenStores = Callable[[], Awaitable[Stores]]
"""Opens the stores; raises `RecordsUnavailable`."""


async def without_records() -> Stores:
    """Where no records are configured."""
    raise RecordsUnavailable("No records are configured.")

"""The stores of records, which are opened at the first use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from assay.domain.erasure import RecordEraser
from assay.domain.labels import LabelStore
from assay.domain.records import (
    DatasetStore,
    EvaluatorStore,
    ObjectStore,
    RecordsUnavailable,
    RunStore,
)


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores of one database."""

    evaluators: EvaluatorStore
    datasets: DatasetStore
    runs: RunStore
    objects: ObjectStore
    labels: LabelStore
    eraser: RecordEraser


OpenStores = Callable[[], Awaitable[Stores]]
"""Opens the stores; raises `RecordsUnavailable`."""


async def without_records() -> Stores:
    """Where no records are configured."""
    raise RecordsUnavailable("No records are configured.")

"""Gauges that are read at each scrape rather than counted as things happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from assay.domain.errors import StoreUnavailable
from assay.domain.supervision import SupervisedTask

POLL_EVERY_S = 5.0
POLL_S_MAX = 1.0
"""Longest wait for one value."""

T = TypeVar("T")


class GaugeSpec(NamedTuple):
    """A gauge: its name, its help text and its labels."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


GAUGES = (
    GaugeSpec(
        "assay_slot_utilization_ratio",
        "(Calls in progress + calls waiting for a local slot) / slots, of the busiest model.",
    ),
    GaugeSpec("assay_inflight_bytes_ratio", "Bytes of request bodies in flight / bytes allowed."),
    GaugeSpec("assay_requests_in_flight", "Requests in flight."),
    GaugeSpec("assay_queue_depth", "Calls that wait in this process.", ("model", "reason")),
    GaugeSpec("assay_queue_bytes", "Bytes of the prompts that wait.", ("model", "reason")),
    GaugeSpec(
        "assay_quota_balance",
        "Requests or tokens left in a quota bucket; negative while in debt.",
        ("model", "bucket"),
    ),
    GaugeSpec("assay_quota_rate_ratio", "Share of the configured rate in use.", ("model",)),
    GaugeSpec("assay_quota_degraded", "1 while each process keeps quotas by itself, else 0."),
    GaugeSpec(
        "assay_batch_backlog_rows",
        "Rows of running batches without a result; the same in every process, so never sum it.",
    ),
    GaugeSpec(
        "assay_batch_parked_rows",
        "Rows of running batches that wait for a provider's batch API; never sum it.",
    ),
    GaugeSpec(
        "assay_model_end_of_life_timestamp_seconds",
        "When the provider ends the model, where that is known.",
        ("model",),
    ),
    GaugeSpec("assay_retry_budget_ratio", "Share of the retry budget that is left."),
)

ScrapedGauges = Mapping[str, Mapping[tuple[str, ...], float]]
"""Values by gauge and by label values; a gauge without labels has the key `()`."""


class ScrapedGaugeCollector(Collector):
    """Exports what `read` returns; a gauge without labels that it leaves out is 0."""

    def __init__(self) -> None:
        self.read: Callable[[], ScrapedGauges] = dict

    def collect(self) -> Iterator[GaugeMetricFamily]:
        scraped = self.read()
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels)
            values = scraped.get(gauge.name) or ({} if gauge.labels else {(): 0.0})
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family


class Polled(Generic[T]):
    """A value from Redis that is fetched every few seconds, so that a scrape never waits for it.

    `value` is None while it is not known.
    """

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self.value: T | None = None

    async def refresh(self) -> None:
        """Fetch the value once."""
        try:
            async with asyncio.timeout(POLL_S_MAX):
                self.value = await self._fetch()
        except (StoreUnavailable, TimeoutError):
            self.value = None


async def poll(refreshes: Sequence[Callable[[], Awaitable[None]]], task: SupervisedTask) -> None:
    """Refresh polled values until the task stops."""
    while not task.stopping:
        await asyncio.gather(*(refresh() for refresh in refreshes))
        await asyncio.sleep(POLL_EVERY_S)

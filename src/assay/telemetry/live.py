"""Gauges that are read at each scrape rather than counted as things happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class GaugeSpec:
    """A gauge: its name, its help text and its labels."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


GAUGES = (
    GaugeSpec(
        "assay_slot_utilization_ratio",
        "(Calls under way + calls waiting for a local slot) / slots, of the busiest model.",
    ),
    GaugeSpec("assay_inflight_bytes_ratio", "Bytes of bodies in flight / bytes allowed."),
    GaugeSpec("assay_requests_in_flight", "Requests in flight."),
    GaugeSpec("assay_queue_depth", "Calls that wait in this process.", ("model", "reason")),
    GaugeSpec("assay_queue_bytes", "Bytes of the prompts that wait.", ("model", "reason")),
    GaugeSpec(
        "assay_quota_balance",
        "What is left of a bucket, in requests or tokens; negative while in debt.",
        ("model", "bucket"),
    ),
    GaugeSpec(
        "assay_quota_rate_ratio", "Share of the configured rate that is used now.", ("model",)
    ),
    GaugeSpec("assay_quota_degraded", "1 while quotas are kept by each process alone, else 0."),
    GaugeSpec(
        "assay_batch_backlog_rows",
        "Rows of running batches without a result; the same in every process, never to be summed.",
    ),
    GaugeSpec("assay_retry_budget_ratio", "Share of the retry budget that is left."),
)

ScrapedGauges = Mapping[str, Mapping[tuple[str, ...], float]]
"""Values by gauge and by label values; a gauge without labels has the key `()`."""


class ScrapedGaugeCollector(Collector):
    """Exports what `read` gives; a gauge without labels that it leaves out is 0."""

    def __init__(self, read: Callable[[], ScrapedGauges] = dict) -> None:
        self.read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        readings = self.read()
        for live in GAUGES:
            family = GaugeMetricFamily(live.name, live.text, labels=live.labels)
            values = readings.get(live.name) or ({} if live.labels else {(): 0.0})
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family

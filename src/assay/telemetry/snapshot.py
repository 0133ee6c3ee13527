"""What a process has seen since it started, read from its own metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from prometheus_client import CollectorRegistry

JUDGED = ("/v1/evaluations", "/v1/comparisons")
"""The routes whose time is that of judging."""
SERVER_ERROR = 500


def snapshot(registry: CollectorRegistry) -> dict[str, Any]:
    """Requests and calls of models with their times, what waits, and criteria by outcome.

    A quantile is the upper bound of its bucket of the histogram, in milliseconds; None without
    requests, and where it lies above the last bound.
    """
    requests = failed = scored = 0
    unscored: Counter[str] = Counter()
    buckets: Counter[float] = Counter()
    calls: defaultdict[str, Counter[float]] = defaultdict(Counter)
    waiting: Counter[str] = Counter()
    for family in registry.collect():
        for sample in family.samples:
            labels, value = sample.labels, int(sample.value)
            if sample.name == "assay_requests_total":
                requests += value
                failed += value * (int(labels["status"]) >= SERVER_ERROR)
            elif sample.name == "assay_request_seconds_bucket" and labels["route"] in JUDGED:
                buckets[float(labels["le"])] += value
            elif sample.name == "assay_provider_attempt_seconds_bucket" and value:
                calls[labels["model"]][float(labels["le"])] += value
            elif sample.name == "assay_queue_depth":
                waiting[labels["reason"]] += value
            elif sample.name == "assay_criteria_total" and value:
                scored += value * (labels["status"] == "scored")
                unscored[labels["reason"]] += value * (labels["status"] == "unscored")
    return {
        "requests": requests,
        "server_errors": failed,
        "judged_p50_ms": _quantile(buckets, 0.5),
        "judged_p95_ms": _quantile(buckets, 0.95),
        "calls": {
            model: {"p50_ms": _quantile(times, 0.5), "p95_ms": _quantile(times, 0.95)}
            for model, times in calls.items()
        },
        "waiting": dict(+waiting),
        "criteria_scored": scored,
        "criteria_unscored": dict(+unscored),
    }


def _quantile(buckets: Counter[float], share: float) -> float | None:
    """From counts of all values up to each bound."""
    total = max(buckets.values(), default=0)
    reached = (bound for bound in sorted(buckets) if buckets[bound] >= share * total)
    bound = next(reached, None) if total else None
    return None if bound is None or bound == float("inf") else bound * 1_000

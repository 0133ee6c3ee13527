"""The control loop: scrape the simulated pods, ask the autoscaler, scale, and record."""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from hpa.autoscaler import (
    SYNC_S,
    Autoscaler,
    Behavior,
    MetricLost,
    Policy,
    Rules,
    Sample,
    replicas_for_pods,
)
from hpa.fleet import Counts, Fleet, Pod, World

SYNC_JITTER_S = 1.0
"""How late a decision may be: the controller waits for the metrics API and other autoscalers."""

SCRAPE_S = 15
SMOOTHED_SCRAPES = 2
"""The adapter's rule averages over 30 s, which is two scrapes."""

MINUTE = 60.0
MANIFEST = (
    Path(__file__).parents[2] / "deploy/kubernetes/overlays/hpa-prometheus-adapter/autoscalers.yaml"
)

Metric = Callable[[Pod, World], float]


def slot_utilization(pod: Pod, world: World) -> float:
    """`assay_slot_utilization_ratio`: in flight and waiting for a local slot, over the slots."""
    return (pod.busy + len(pod.waiting)) / world.slots


def inflight_bytes(pod: Pod, world: World) -> float:
    """`assay_inflight_bytes_ratio`: all bodies that the pod holds, over the byte budget."""
    return pod.held * world.body_mb / world.budget_mb


@dataclass(frozen=True)
class Setup:
    """The autoscaler's configuration: each metric with its target, and the behavior."""

    metrics: tuple[tuple[Metric, float], ...]
    behavior: Behavior


@dataclass(frozen=True)
class Scenario:
    """A simulated situation; `lost(t)` is the share of pods without metrics at second `t`."""

    name: str
    title: str
    world: World
    minutes: int
    start: int = 2
    lost: Callable[[float], float] = lambda _: 0.0


@dataclass(frozen=True)
class Moment:
    """The state at one decision; load in requests a second."""

    at_s: float
    load: float
    replicas: int
    ready: int
    utilization: float
    waiting_for_quota: int


@dataclass(frozen=True)
class Outcome:
    """All moments of a run and the counts of its requests."""

    moments: list[Moment]
    counts: Counts

    @property
    def replicas(self) -> list[int]:
        return [moment.replicas for moment in self.moments]

    def between(self, start_min: float, end_min: float) -> list[Moment]:
        return [m for m in self.moments if start_min * MINUTE <= m.at_s < end_min * MINUTE]

    @property
    def flaps(self) -> int:
        """Scale-ups less than ten minutes after a scale-down."""
        changes = [
            (later.at_s, later.replicas - earlier.replicas)
            for earlier, later in pairwise(self.moments)
            if later.replicas != earlier.replicas
        ]
        return sum(
            (before > 0) != (after > 0) and then - since < 10 * MINUTE and before < 0
            for (since, before), (then, after) in pairwise(changes)
        )

    @property
    def pod_minutes(self) -> float:
        return sum(self.replicas) * SYNC_S / MINUTE

    @property
    def refused_share(self) -> float:
        """The share of requests that pods refused, as opposed to the quota."""
        return self.counts.refused_by_pods / max(1, self.counts.arrived)

    @property
    def wait_p99_s(self) -> float:
        return statistics.quantiles(self.counts.waits_s, n=100)[98]


def shipped(manifest: Path = MANIFEST) -> Setup:
    """The deployed configuration, read from its manifest."""
    documents = list(yaml.safe_load_all(manifest.read_text()))
    (spec,) = [
        document["spec"] for document in documents if document["metadata"]["name"] == "assay-api"
    ]
    targets = {
        metric["pods"]["metric"]["name"]: int(metric["pods"]["target"]["averageValue"][:-1]) / 1000
        for metric in spec["metrics"]
        if metric["type"] == "Pods"
    }
    bounds = Behavior(
        _rules(spec["behavior"]["scaleUp"]),
        _rules(spec["behavior"]["scaleDown"]),
        spec["minReplicas"],
        spec["maxReplicas"],
    )
    slots = targets["assay_slot_utilization_ratio"]
    held = targets["assay_inflight_bytes_ratio"]
    return Setup(((slot_utilization, slots), (inflight_bytes, held)), bounds)


def run(scenario: Scenario, setup: Setup | None = None, seed: int = 1) -> Outcome:
    """Simulate the scenario: scrape, decide and scale about every 15 s.

    The seed draws the requests, how late each decision is, and how old its metrics are.
    """
    setup = setup or shipped()
    fleet = Fleet(scenario.world, scenario.start, seed)
    scaler = Autoscaler(setup.behavior)
    scraped: dict[tuple[int, int], deque[float]] = {}
    moments = []
    clocks = random.Random(seed)
    age_s = clocks.uniform(0, SCRAPE_S - SYNC_JITTER_S)
    for step in range(1, int(scenario.minutes * MINUTE / SYNC_S) + 1):
        fleet.run_until(step * SYNC_S - age_s)
        _scrape(fleet, setup, scraped)
        at_s = step * SYNC_S + clocks.uniform(0, SYNC_JITTER_S)
        fleet.run_until(at_s)
        samples = _samples(fleet, setup, scraped, scenario.lost(at_s))
        proposals = [
            _proposal(fleet.replicas, target, metric_samples)
            for (_, target), metric_samples in zip(setup.metrics, samples, strict=True)
        ]
        fleet.scale(scaler.decide(at_s, fleet.replicas, proposals))
        moments.append(_moment(fleet))
    return Outcome(moments, fleet.counts)


def _scrape(fleet: Fleet, setup: Setup, scraped: dict[tuple[int, int], deque[float]]) -> None:
    for pod in fleet.ready():
        for index, (metric, _) in enumerate(setup.metrics):
            values = scraped.setdefault((pod.number, index), deque(maxlen=SMOOTHED_SCRAPES))
            values.append(metric(pod, fleet.world))


def _samples(
    fleet: Fleet,
    setup: Setup,
    scraped: dict[tuple[int, int], deque[float]],
    lost_share: float,
) -> list[list[Sample]]:
    """What the adapter reports for each metric; lost pods have no value."""
    alive = [pod for pod in fleet.pods if not pod.draining]
    silent = {pod.number for pod in alive[: round(lost_share * len(alive))]}
    return [
        [
            Sample(
                statistics.fmean(scraped[pod.number, index])
                if (pod.number, index) in scraped and pod.number not in silent
                else None,
                unready=pod.state == "pending",
            )
            for pod in alive
        ]
        for index in range(len(setup.metrics))
    ]


def _proposal(current: int, target: float, samples: list[Sample]) -> int | None:
    try:
        return replicas_for_pods(current, target, samples)
    except MetricLost:
        return None


def _moment(fleet: Fleet) -> Moment:
    ready = fleet.ready()
    used = [slot_utilization(pod, fleet.world) for pod in ready]
    return Moment(
        fleet.now,
        fleet.world.load(fleet.now),
        fleet.replicas,
        len(ready),
        statistics.fmean(used) if used else 0.0,
        sum(pod.waiting_for_quota for pod in fleet.pods),
    )


def _rules(raw: dict[str, Any]) -> Rules:
    policies = tuple(Policy(p["type"], p["value"], p["periodSeconds"]) for p in raw["policies"])
    return Rules(raw["stabilizationWindowSeconds"], policies, raw["selectPolicy"])

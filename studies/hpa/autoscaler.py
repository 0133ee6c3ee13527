"""The Horizontal Pod Autoscaler's algorithm (autoscaling/v2), as Kubernetes documents it.

Source: kubernetes.io, "Horizontal Pod Autoscaling", algorithm details and configurable scaling
behaviour; where the page is silent, the controller's replica calculator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

TOLERANCE = 0.1
"""A ratio this close to 1 changes nothing; --horizontal-pod-autoscaler-tolerance."""

SYNC_S = 15
"""Time between two decisions; --horizontal-pod-autoscaler-sync-period."""

Select = Literal["Max", "Min", "Disabled"]


class MetricLost(Exception):
    """No pod gave the metric, or the metrics API did not answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod as the autoscaler sees it: its metric, None where missing, and whether it is unready.

    For metrics of type Pods, a pending pod is unready; for CPU also one that has just started.
    """

    value: float | None
    unready: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Change at most `value` pods, or percent of the pods, in `period_s`."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: int


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction of `behavior`."""

    window_s: int
    policies: tuple[Policy, ...]
    select: Select = "Max"


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions, and the bounds."""

    up: Rules
    down: Rules
    replicas_min: int
    replicas_max: int


def replicas_for_pods(
    current: int,
    target: float,
    samples: Sequence[Sample],
    *,
    missing_when_falling: float | None = None,
    tolerance: float = TOLERANCE,
) -> int:
    """Pods wanted by a per-pod metric with a target of AverageValue, or Utilization as a ratio.

    A missing value counts against the change. Where the others ask for fewer pods it counts as the
    target (for CPU as the whole request: `missing_when_falling`); where they ask for more it counts
    as 0, and so do unready pods. Raises `MetricLost`.
    """
    known = [sample.value for sample in samples if sample.value is not None and not sample.unready]
    if not known:
        raise MetricLost
    unready = sum(sample.unready for sample in samples)
    missing = sum(sample.value is None and not sample.unready for sample in samples)
    ratio = sum(known) / (target * len(known))
    counted = list(known)
    if ratio < 1:
        counted += [target if missing_when_falling is None else missing_when_falling] * missing
    elif ratio > 1:
        counted += [0.0] * (missing + unready)
    adjusted = sum(counted) / (target * len(counted))
    if _within(adjusted, tolerance) or (ratio - 1) * (adjusted - 1) < 0:
        return current
    wanted = _ceil(adjusted * len(counted))
    reverses = (adjusted < 1 and wanted > current) or (adjusted > 1 and wanted < current)
    guessed = len(counted) > len(known)
    return current if guessed and reverses else wanted


def replicas_for_total(
    current: int, target: float, total: float | None, tolerance: float = TOLERANCE
) -> int:
    """Pods wanted by an External metric with a target of AverageValue. Raises `MetricLost`."""
    if total is None:
        raise MetricLost
    if current and _within(total / (target * current), tolerance):
        return current
    return _ceil(total / target)


def largest(current: int, proposals: Iterable[int | None]) -> int | None:
    """The largest proposal; None, for no change, where a lost metric prevents a decision.

    A lost metric proposes None. It prevents a decision where all metrics are lost, or where the
    others ask for fewer pods.
    """
    all_proposals = list(proposals)
    known = [proposal for proposal in all_proposals if proposal is not None]
    if not known or (len(known) < len(all_proposals) and max(known) < current):
        return None
    return max(known)


@dataclass
class Autoscaler:
    """The state between decisions: stabilization windows and the policies' periods."""

    behavior: Behavior
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now_s: float, current: int, proposals: Iterable[int | None]) -> int:
        """The number of pods from now on; call it every `SYNC_S`."""
        wanted = largest(current, proposals)
        if wanted is None:
            return current
        stable = self._stabilized(now_s, current, wanted)
        decided = self._limited(now_s, current, stable)
        if decided != current:
            self._changes.append((now_s, decided - current))
        return decided

    def _stabilized(self, now_s: float, current: int, wanted: int) -> int:
        """Within the window: up to its lowest recommendation, down to its highest."""
        up, down = self.behavior.up.window_s, self.behavior.down.window_s
        ceiling = min([wanted, *(n for at, n in self._recommended if at > now_s - up)])
        floor = max([wanted, *(n for at, n in self._recommended if at > now_s - down)])
        self._recommended = [(at, n) for at, n in self._recommended if at > now_s - max(up, down)]
        self._recommended.append((now_s, wanted))
        return min(max(current, ceiling), floor)

    def _limited(self, now_s: float, current: int, wanted: int) -> int:
        bounds = self.behavior
        wanted = min(max(wanted, bounds.replicas_min), bounds.replicas_max)
        if wanted > current:
            return max(current, min(wanted, self._limit(now_s, current, bounds.up, +1)))
        if wanted < current:
            return min(current, max(wanted, self._limit(now_s, current, bounds.down, -1)))
        return current

    def _limit(self, now_s: float, current: int, rules: Rules, direction: int) -> int:
        """The furthest that the policies allow, after the changes in their periods."""
        if rules.select == "Disabled":
            return current
        limits = []
        for policy in rules.policies:
            start = current - sum(n for at, n in self._changes if at > now_s - policy.period_s)
            if policy.kind == "Pods":
                limits.append(start + direction * policy.value)
            elif direction > 0:
                limits.append(_ceil(start * (1 + policy.value / 100)))
            else:
                limits.append(math.floor(start * (1 - policy.value / 100) + 1e-9))
        furthest = max if (rules.select == "Max") == (direction > 0) else min
        return furthest(limits)


def _within(ratio: float, tolerance: float) -> bool:
    return 1 - tolerance <= ratio + 1e-9 and ratio - 1e-9 <= 1 + tolerance


def _ceil(value: float) -> int:
    """Rounded up, without what floating point has added."""
    return math.ceil(value - 1e-9)

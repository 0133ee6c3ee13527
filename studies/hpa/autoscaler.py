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
"""Between two decisions; --horizontal-pod-autoscaler-sync-period."""

Select = Literal["Max", "Min", "Disabled"]


class MetricLost(Exception):
    """No pod gave the metric, or the metrics API did not answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod as the autoscaler sees it: its value, None where missing; whether it is unready.

    For metrics of the kind Pods, unready means that the pod is pending; for CPU it also means a
    pod that has only just started.
    """

    value: float | None
    unready: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `value` pods, or per cent of the pods, in `period_s`."""

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
    """Pods wanted by a per-pod metric of the kind AverageValue, or Utilization as a ratio.

    A missing value counts against the change: as the target (for CPU: as the whole request, given
    by `missing_when_falling`) where the others ask for fewer pods, and as 0 where they ask for
    more. Unready pods count as 0 where the others ask for more. Raises `MetricLost`.
    """
    known = [each.value for each in samples if each.value is not None and not each.unready]
    if not known:
        raise MetricLost
    unready = sum(each.unready for each in samples)
    missing = sum(each.value is None and not each.unready for each in samples)
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
    turns_round = (adjusted < 1 and wanted > current) or (adjusted > 1 and wanted < current)
    guessed = len(counted) > len(known)
    return current if guessed and turns_round else wanted


def replicas_for_total(
    current: int, target: float, total: float | None, tolerance: float = TOLERANCE
) -> int:
    """Pods wanted by an External metric of the kind AverageValue. Raises `MetricLost`."""
    if total is None:
        raise MetricLost
    if current and _within(total / (target * current), tolerance):
        return current
    return _ceil(total / target)


def largest(current: int, proposals: Iterable[int | None]) -> int | None:
    """The largest of the metrics' proposals, None being a metric that was lost.

    None where every metric was lost, or one was and the others ask for fewer pods: then nothing
    is changed.
    """
    all_of_them = list(proposals)
    known = [each for each in all_of_them if each is not None]
    if not known or (len(known) < len(all_of_them) and max(known) < current):
        return None
    return max(known)


@dataclass
class Autoscaler:
    """The part that remembers: stabilisation windows and the policies' periods."""

    behavior: Behavior
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now_s: float, current: int, proposals: Iterable[int | None]) -> int:
        """The number of pods from now on; call it every `SYNC_S`."""
        wanted = largest(current, proposals)
        if wanted is None:
            return current
        stable = self._stabilised(now_s, current, wanted)
        decided = self._limited(now_s, current, stable)
        if decided != current:
            self._changes.append((now_s, decided - current))
        return decided

    def _stabilised(self, now_s: float, current: int, wanted: int) -> int:
        """Up at most to the lowest, down at most to the highest recommendation of the window."""
        up, down = self.behavior.up.window_s, self.behavior.down.window_s
        ceiling = min([wanted, *(n for at, n in self._recommended if at > now_s - up)])
        floor = max([wanted, *(n for at, n in self._recommended if at > now_s - down)])
        self._recommended = [each for each in self._recommended if each[0] > now_s - max(up, down)]
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
        """As far as the policies let it go, counting what was changed in their periods."""
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
    """Up to a whole number, forgiving what floating point added."""
    return math.ceil(value - 1e-9)

"""The simulated scenarios, and variants of the shipped configuration to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hpa.fleet import Pod, World
from hpa.simulation import MINUTE, Scenario, Setup

LOW, STEADY, HIGH = 10.0, 60.0, 100.0
"""Requests a second."""


def with_target(setup: Setup, target: float) -> Setup:
    """The same configuration with another target for the slots."""
    (metric, _), *others = setup.metrics
    return replace(setup, metrics=((metric, target), *others))


def with_window(setup: Setup, window_s: int) -> Setup:
    """The same configuration with another scale-down stabilization window."""
    down = replace(setup.behavior.down, window_s=window_s)
    return replace(setup, behavior=replace(setup.behavior, down=down))


def mixing_the_waits(setup: Setup) -> Setup:
    """The same configuration, where requests that wait for quota count as holding slots."""
    (_, slots), *others = setup.metrics
    return replace(setup, metrics=((every_caller, slots), *others))


def every_caller(pod: Pod, world: World) -> float:
    """The wrong metric: it also counts requests that wait for the provider's quota."""
    return pod.held / world.slots


def _pulse(start_min: float, end_min: float) -> Callable[[float], float]:
    return lambda t: HIGH if start_min * MINUTE <= t < end_min * MINUTE else LOW


def _ramp(t: float) -> float:
    """Twenty minutes up, ten at the top, twenty down."""
    minute = t / MINUTE
    share = min(max(0.0, minute / 20), 1.0, max(0.0, (50 - minute) / 20))
    return LOW + share * (HIGH - LOW)


def _sawtooth(t: float) -> float:
    """From a fifth to the full load every four minutes, for forty minutes."""
    if t >= 40 * MINUTE:
        return LOW
    return HIGH * (0.2 + 0.8 * (t % (4 * MINUTE)) / (4 * MINUTE))


STEP = Scenario("step", "Ten times the load at once", World(_pulse(5, 20)), 50)
RAMP = Scenario("ramp", "A slow rise and fall", World(_ramp), 75)
SAWTOOTH = Scenario("sawtooth", "Load that swings every four minutes", World(_sawtooth), 65)
QUOTA = Scenario(
    "quota", "The provider's quota is used up", World(_pulse(5, 25), quota_per_s=30.0), 50
)
QUOTA_BYTES = Scenario(
    "quota-1mb",
    "The same with bodies of 1 MB",
    World(_pulse(5, 25), quota_per_s=30.0, body_mb=1.0),
    50,
)
OUTAGE = Scenario(
    "outage",
    "The provider is silent for five minutes",
    World(lambda _: STEADY, dead_s=(15 * MINUTE, 20 * MINUTE)),
    40,
    start=6,
)
LOST = Scenario(
    "metric-lost",
    "The metric is lost for ten minutes while the load falls",
    World(_pulse(2, 15)),
    50,
    lost=lambda t: 1.0 if 14 * MINUTE <= t < 24 * MINUTE else 0.0,
)
HALF_LOST = Scenario(
    "half-lost",
    "Half of the pods are silent for ten minutes under steady load",
    World(lambda _: STEADY),
    40,
    start=6,
    lost=lambda t: 0.5 if 10 * MINUTE <= t < 20 * MINUTE else 0.0,
)
POD_DIES = Scenario(
    "pod-dies", "A pod dies", World(lambda _: STEADY, crash_s=15 * MINUTE), 30, start=6
)

SCENARIOS = (STEP, RAMP, SAWTOOTH, QUOTA, QUOTA_BYTES, OUTAGE, LOST, HALF_LOST, POD_DIES)

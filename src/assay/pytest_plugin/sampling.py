"""Tests that run several times and pass by a rate."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from assay.pytest_plugin.fixture import Unscored

SAMPLES_MAX = 1_000
MESSAGES_SHOWN = 3
ROUNDING = 1e-9


@dataclass(slots=True)
class SampledTest:
    """How often a test runs, and how its samples came out."""

    samples: int = 1
    min_pass_rate: float = 1.0
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)

    def count(self, error: BaseException | None) -> None:
        """Count a sample; raises an error that says nothing of the output."""
        match error:
            case None:
                self.passed += 1
            case Unscored():
                self.unscored.append(str(error))
            case pytest.xfail.Exception():  # pytest makes it a kind of failure
                raise error
            case AssertionError() | pytest.fail.Exception():
                self.failed.append(str(error))
            case _:
                raise error

    @property
    def verdict(self) -> bool | None:
        """Whether the rate is reached; None if that depends on samples without a score."""
        least = self.passed / self.samples
        most = (self.passed + len(self.unscored)) / self.samples
        if least >= self.min_pass_rate - ROUNDING:
            return True
        return None if most >= self.min_pass_rate - ROUNDING else False

    def __str__(self) -> str:
        head = f"{self.passed} of {self.samples} samples passed"
        if self.unscored:
            head += f", {len(self.unscored)} unscored"
        shown = [*self.failed, *self.unscored][:MESSAGES_SHOWN]
        return "\n".join((f"{head}; min_pass_rate is {self.min_pass_rate:g}.", *shown))


def sampling_of(item: pytest.Item) -> SampledTest | None:
    """What the marker `assay` says; None without one; raises `pytest.UsageError`."""
    marker = item.get_closest_marker("assay")
    if marker is None:
        return None
    samples = marker.kwargs.get("samples", 1)
    rate = marker.kwargs.get("min_pass_rate", 1.0)
    fault = ""
    if marker.args or set(marker.kwargs) - {"samples", "min_pass_rate"}:
        fault = "takes samples= and min_pass_rate= alone"
    elif type(samples) is not int or not 1 <= samples <= SAMPLES_MAX:
        fault = f"samples must be an integer from 1 to {SAMPLES_MAX}"
    elif type(rate) not in (int, float) or not 0 < rate <= 1:
        fault = "min_pass_rate must be above 0 and at most 1"
    if fault:
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.assay: {fault}")
    return SampledTest(samples, rate)

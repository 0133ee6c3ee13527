"""Raises an alarm when a judge disagrees with a labelled control set more often than it did."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_banded

from assay.calibration.figures import between

LIMIT_MAX = 20_000


@dataclass(frozen=True, slots=True)
class DriftChart:
    """A Bernoulli CUSUM: its design, and its state after `cases`.

    S = max(0, S − 1) where judge and people agree, S + `step` where they differ; alarm at `limit`.
    """

    step: int
    limit: int
    cases_to_false_alarm: float
    """Mean number of cases to an alarm while nothing has changed."""
    cases_to_detection: float
    """Mean number of cases to an alarm after the change to the worse rate."""
    sum: int = 0
    cases: int = 0
    quiet: int = 0
    """How many cases there were when the sum was last 0: a change began after them."""
    alarm: bool = False

    def extend(self, disagreements: Iterable[bool]) -> DriftChart:
        """The chart after more cases, up to the first alarm, which stays until a new chart."""
        sum_, cases, quiet = self.sum, self.cases, self.quiet
        for differs in disagreements if not self.alarm else ():
            sum_, cases = (sum_ + self.step if differs else max(0, sum_ - 1)), cases + 1
            if sum_ >= self.limit:
                return replace(self, sum=sum_, cases=cases, quiet=quiet, alarm=True)
            quiet = cases if sum_ == 0 else quiet
        return replace(self, sum=sum_, cases=cases, quiet=quiet)


def drift_chart(certified: float, worse: float, cases_between_false_alarms: float) -> DriftChart:
    """The chart with the wanted rate of false alarms, for disagreement rates p0 < p1.

    The CUSUM of log-likelihood ratios, with p1 moved slightly so that one disagreement weighs
    exactly as much as m − 1 agreements; the mean number of cases to an alarm then comes exactly
    from a Markov chain over 0 … limit − 1, and the smallest sufficient limit is taken. Reynolds
    and Stoumbos, A CUSUM Chart for Monitoring a Proportion When Inspecting Continuously (1999).

    Assumes independent cases. A control set that is judged again gives less varied results, so
    false alarms are rarer; then p0 must be the set's own rate when it was certified, as a set that
    was worse from the start raises an alarm without any drift. For a set with k disagreements of n,
    (k + ½)/(n + 1) keeps p0 above 0.
    """
    between("certified", certified)
    between("worse", worse, certified, 1.0)
    agree = -math.log((1 - worse) / (1 - certified))
    differ = math.log(worse * (1 - certified) / (certified * (1 - worse)))
    step = max(1, round(differ / agree) - 1)

    def enough(limit: int) -> bool:
        return mean_run_length(certified, step, limit) >= cases_between_false_alarms

    low, high = 0, 1
    while not enough(high):
        low, high = high, high * 2
        if high > LIMIT_MAX:
            raise ValueError(
                "certified and worse are too close to tell apart at this rate of alarms"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return DriftChart(
        step, high, mean_run_length(certified, step, high), mean_run_length(worse, step, high)
    )


def mean_run_length(rate: float, step: int, limit: int) -> float:
    """E_0 of E_i = 1 + p E_{i + step} + (1 − p) E_{max(i − 1, 0)}, with E_j = 0 from `limit`."""
    width = min(step, limit - 1)
    bands = np.zeros((width + 2, limit))
    bands[width] = 1.0
    bands[width, 0] -= 1 - rate
    bands[width + 1, :-1] = -(1 - rate)
    if step <= limit - 1:
        bands[width - step, step:] = -rate
    return float(solve_banded((1, width), bands, np.ones(limit))[0])

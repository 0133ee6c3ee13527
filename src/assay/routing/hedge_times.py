"""When a call to a model is late enough to be hedged."""

from __future__ import annotations

from assay.domain.hedging import HedgedCall
from assay.domain.moving_average import MovingQuantiles

ANSWERS_KEPT = 500
ANSWERS_MIN = 100
"""Fewer answers of a model say little about its slowest ones: its calls are not hedged yet."""

GAP_RATIO = 1.5
"""A p95 above so many times the p90 belongs to a group of slow answers, apart from the usual ones.
"""
ABOVE_P90 = 1.1
"""With such a group, a call is late this far above the p90. Where 5 % of the answers are slow, the
p95 would be a slow one half of the time, and slow calls would not be hedged."""


class HedgeTimes:
    """How long a model recently took to answer, without any wait in this process."""

    def __init__(self) -> None:
        self._answers = MovingQuantiles(ANSWERS_KEPT)

    def add(self, call: HedgedCall) -> None:
        """Take in a call that was answered, or that is out and superseded.

        The latter took longer than the p95; how much longer does not change the p95. Hedges do not
        count: only the quick ones of them are seen to their end.
        """
        if not call.may_wait:
            return
        if call.took_s is not None:
            self._answers.add(call.took_s)
        elif call.is_out:
            self._answers.add(call.out_s)

    @property
    def late_after_s(self) -> float | None:
        """The time to answer after which a call is late; None before there are enough answers."""
        p90, p95 = self._answers.at(0.90), self._answers.at(0.95)
        if len(self._answers) < ANSWERS_MIN or p90 is None or p95 is None:
            return None
        return p95 if p95 <= GAP_RATIO * p90 else ABOVE_P90 * p90

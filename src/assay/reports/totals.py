"""Totals over all rows: an unscored or skipped result counts as such, never as 0."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CRITERIA_MAX = 1_000
REASONS_SHOWN_MAX = 8
REST = "(further criteria)"
BINS = 10


@dataclass(slots=True)
class CriterionTotals:
    """Totals of one criterion, or of whole rows."""

    scores: int = 0
    score_sum: float = 0.0
    passed: int = 0
    failed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    """Results that were not asked for, because a condition did not hold."""
    cost_usd: float = 0.0
    bins: list[int] = field(default_factory=lambda: [0] * BINS)
    """Scores by their place between 0 and 1; the last bin includes 1."""

    def add(self, result: Mapping[str, Any], reason: str | None) -> None:
        """Count a result; `reason` says why it is unscored, or is None."""
        self.cost_usd += _number(result.get("cost_usd")) or 0.0
        if result.get("status") == "skipped":
            self.skipped += 1
            return
        score = _number(result.get("score"))
        if reason is not None or score is None:
            self.left_out[reason or "score_missing"] += 1
            return
        self.scores += 1
        self.score_sum += score
        self.bins[min(max(int(score * BINS), 0), BINS - 1)] += 1
        self.passed += result.get("passed") is True
        self.failed += result.get("passed") is False

    @property
    def total(self) -> int:
        return self.scores + self.left_out.total() + self.skipped

    @property
    def mean(self) -> float | None:
        return self.score_sum / self.scores if self.scores else None

    @property
    def pass_rate(self) -> float | None:
        decided = self.passed + self.failed
        return self.passed / decided if decided else None

    @property
    def why_unscored(self) -> str:
        """The most frequent reasons, each with its count."""
        common = self.left_out.most_common(REASONS_SHOWN_MAX)
        return ", ".join(f"{reason} {count:,}" for reason, count in common)


class Summary:
    """Totals of rows and of every criterion; its size does not grow with the rows."""

    def __init__(self) -> None:
        self.rows = CriterionTotals()
        self.criteria: dict[str, CriterionTotals] = {}
        self.simulated = 0
        self.unasked: set[str] = set()
        """The providers of verdicts for which no model was asked."""

    def add_evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Count the response of an evaluation."""
        has_score = _number(evaluation.get("score")) is not None
        self.rows.add(evaluation, None if has_score else "no_criterion_scored")
        results = evaluation.get("results")
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict):
                if result.get("simulated") is True:
                    self.simulated += 1
                    self.unasked.add(str((result.get("judge") or {}).get("provider")))
                scored = result.get("status") == "scored"
                reason = str(result.get("reason") or result.get("status"))
                self._totals(str(result.get("name"))).add(result, None if scored else reason)

    def add_failure(self, code: str) -> None:
        """Count a row without an evaluation."""
        self.rows.left_out[code] += 1

    def _totals(self, name: str) -> CriterionTotals:
        if name not in self.criteria and len(self.criteria) >= CRITERIA_MAX:
            name = REST
        return self.criteria.setdefault(name, CriterionTotals())


def _number(value: Any) -> float | None:
    """The value if it is a finite number, else None: NaN never reaches a mean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None

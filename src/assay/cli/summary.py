"""Totals over all rows: an unscored result counts as unscored, never as 0."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.cli.app import Exit, notice, printable
from assay.domain.unasked import unasked

CRITERIA_MAX = 1_000
TABLE_COLUMNS = 120
REASONS_SHOWN_MAX = 8
REST = "(further criteria)"
ROUNDING = 1e-9


@dataclass(slots=True)
class CriterionTotals:
    """Totals of one criterion, or of whole rows."""

    scores: int = 0
    score_sum: float = 0.0
    passed: int = 0
    failed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    cost_usd: float = 0.0

    def add(self, result: Mapping[str, Any], reason: str | None) -> None:
        """Count a result; `reason` says why it is unscored, or is None."""
        self.cost_usd += _number(result.get("cost_usd")) or 0.0
        score = _number(result.get("score"))
        if reason is not None or score is None:
            self.left_out[reason or "score_missing"] += 1
            return
        self.scores += 1
        self.score_sum += score
        self.passed += result.get("passed") is True
        self.failed += result.get("passed") is False

    @property
    def total(self) -> int:
        return self.scores + self.left_out.total()

    @property
    def mean(self) -> float | None:
        return self.score_sum / self.scores if self.scores else None

    @property
    def pass_rate(self) -> float | None:
        decided = self.passed + self.failed
        return self.passed / decided if decided else None


class Summary:
    """Totals of rows and of every criterion; its size does not grow with the rows."""

    def __init__(self) -> None:
        self.rows = CriterionTotals()
        self.criteria: dict[str, CriterionTotals] = {}
        self.simulated = 0
        self.unasked: set[str] = set()

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


def show(summary: Summary, console: Console) -> None:
    """Print the totals, and warn of simulated verdicts."""
    if not console.is_terminal:
        console.width = TABLE_COLUMNS
    if summary.rows.total:
        console.print(_table(summary))
    if summary.simulated:
        notice(
            f"assay: {summary.simulated} verdicts are {unasked(summary.unasked)}: "
            "no model was called"
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that the mean over all rows has to reach; None is no bound."""

    min_score: float | None
    min_pass_rate: float | None
    allow_simulated: bool

    @property
    def has_bounds(self) -> bool:
        return self.min_score is not None or self.min_pass_rate is not None

    def to_gates(self) -> list[dict[str, float]]:
        """The gates of a batch; every mean reaches a bound of 0."""
        bounds = {"min_score": self.min_score, "min_pass_rate": self.min_pass_rate}
        return [{name: bound} for name, bound in bounds.items() if bound]

    def missed(self, rows: CriterionTotals) -> list[str]:
        """The bounds that these rows miss, whatever the scores of unscored ones would be."""
        unscored, total = rows.left_out.total(), rows.total
        most = "at most " if unscored else ""
        measures = (
            ("score", rows.score_sum + unscored, self.min_score),
            ("pass rate", total - rows.failed, self.min_pass_rate),
        )
        return [
            f"{name} {most}{reached / total:.4f} is below {bound:g}"
            for name, reached, bound in measures
            if bound is not None and total and reached / total < bound - ROUNDING
        ]


def conclude(summary: Summary, gate: Bounds, decided: Sequence[Mapping[str, Any]] = ()) -> Exit:
    """The exit code for complete results, or for those of a batch whose gates are `decided`.

    Simulated verdicts are no verdicts: by default a gate over them is neither met nor missed.
    """
    if gate.has_bounds and summary.simulated and not gate.allow_simulated:
        notice("assay: gate refused: verdicts are simulated. To try it, add --allow-simulated")
        return Exit.INCOMPLETE
    rows = summary.rows
    failed = [one["statement"] for one in decided if one["verdict"] == "failed"]
    missed = failed if decided else gate.missed(rows)
    if missed:
        notice("assay: gate not met: " + "; ".join(missed))
        return Exit.NOT_MET
    undecided = gate.min_pass_rate is not None and rows.passed + rows.failed < rows.total
    undecided |= any(one["verdict"] == "undecided" for one in decided)
    return Exit.INCOMPLETE if rows.left_out or not rows.total or undecided else Exit.OK


def _table(summary: Summary) -> Table:
    table = Table(title="Evaluation")
    table.add_column("criterion", overflow="fold")
    for heading in ("rows", "mean score", "pass rate", "unscored", "cost USD"):
        table.add_column(heading, justify="right")
    table.add_column("why unscored", overflow="fold")
    for name, totals in summary.criteria.items():
        table.add_row(*_cells(name, totals))
    table.add_section()
    table.add_row(*_cells("all rows", summary.rows))
    return table


def _cells(name: str, totals: CriterionTotals) -> list[Text]:
    total = totals.total
    common = totals.left_out.most_common(REASONS_SHOWN_MAX)
    why = ", ".join(f"{reason} {count / total:.1%}" for reason, count in common)
    unscored = f"{totals.left_out.total() / total:.1%}" if total else "–"
    shown = (
        name,
        str(total),
        "–" if totals.mean is None else f"{totals.mean:.4f}",
        "–" if totals.pass_rate is None else f"{totals.pass_rate:.1%}",
        unscored,
        f"{totals.cost_usd:.4f}",
        why,
    )
    return [Text(printable(cell)) for cell in shown]


def _number(value: Any) -> float | None:
    """The value if it is a finite number, else None: NaN never reaches a mean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None

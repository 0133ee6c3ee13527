"""The model of a report: totals, and the rows that tell why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from assay.reports.text import shortened
from assay.reports.totals import CriterionTotals, Summary

Outcome = Literal["failed", "unscored", "passed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
ROWS_KEPT_MAX = 10_000
"""Rows kept of each outcome. Further ones are in the totals alone, and the report says so."""
TEXT_CHARS_MAX = 1_000
EXPLANATION_CHARS_MAX = 2_000
HEADINGS = ("criterion", "rows", "mean score", "passed", "failed", "pass rate", "unscored",
            "skipped", "cost USD", "why unscored")  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """What one criterion says of a row."""

    name: str
    outcome: Outcome | Literal["scored", "skipped"]
    score: float | None
    threshold: float | None
    explanation: str

    def __str__(self) -> str:
        score = "" if self.score is None else f" {self.score:.3g}"
        bound = "" if self.threshold is None else f" (threshold {self.threshold:g})"
        return f"{self.outcome}{score}{bound}"


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """A row of a report; its texts are shortened."""

    name: str
    outcome: Outcome
    input: str
    output: str
    verdicts: tuple[RowVerdict, ...]
    error: str = ""

    @property
    def at_fault(self) -> str:
        """The error, or the criteria that made the outcome."""
        return self.error or ", ".join(
            verdict.name for verdict in self.verdicts if verdict.outcome == self.outcome
        )

    def lines(self) -> Iterator[str]:
        """The verdicts as text, the most important first."""
        if self.error:
            yield self.error
        for verdict in sorted(self.verdicts, key=lambda one: one.outcome != self.outcome):
            explained = f": {verdict.explanation}" if verdict.explanation else ""
            yield f"{verdict.name} {verdict}{explained}"


class RunReport:
    """What was judged under one title; rows are kept if `keep_rows`."""

    def __init__(self, title: str, *, keep_rows: bool) -> None:
        self.title = title
        self.summary = Summary()
        self.counts: Counter[Outcome] = Counter()
        self.statements: list[str] = []
        """What is to be said of the whole, such as a gate that is not met."""
        self._rows: dict[Outcome, list[ReportedRow]] = {one: [] for one in OUTCOMES}
        self._keep_rows = keep_rows

    def add(self, name: str, case: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
        """Add a row with the response of its evaluation."""
        self.summary.add_evaluation(evaluation)
        self._keep(outcome_of(evaluation), lambda: reported(name, case, evaluation))

    def add_failure(self, name: str, case: Mapping[str, Any], code: str, message: str) -> None:
        """Add a row without an evaluation."""
        self.summary.add_failure(code)
        self._keep("unscored", lambda: ReportedRow(name, "unscored", *_texts(case), (), message))

    def rows(self, outcome: Outcome) -> list[ReportedRow]:
        """The rows kept, in the order in which they were added."""
        return self._rows[outcome]

    def left_out(self, outcome: Outcome, shown_max: int = ROWS_KEPT_MAX) -> int:
        """How many rows of an outcome are not shown if at most `shown_max` are."""
        return max(0, self.counts[outcome] - shown_max)

    def _keep(self, outcome: Outcome, to_row: Callable[[], ReportedRow]) -> None:
        self.counts[outcome] += 1
        if self._keep_rows and self.counts[outcome] <= ROWS_KEPT_MAX:
            self._rows[outcome].append(to_row())


def reported(name: str, case: Mapping[str, Any], evaluation: Mapping[str, Any]) -> ReportedRow:
    """The row of a case with the response of its evaluation."""
    verdicts = tuple(map(_verdict, evaluation.get("results") or ()))
    return ReportedRow(name, outcome_of(evaluation), *_texts(case), verdicts)


def _texts(case: Mapping[str, Any]) -> tuple[str, str]:
    return _text(case.get("input")), _text(case.get("output"))


def outcome_of(evaluation: Mapping[str, Any]) -> Outcome:
    """Failed if a criterion failed; passed only if all did."""
    passed = evaluation.get("passed")
    return "unscored" if passed is None else "passed" if passed else "failed"


def criteria_cells(summary: Summary) -> Iterator[tuple[str, ...]]:
    """The rows of the table under `HEADINGS`; the last is that of all rows."""
    for name, totals in (*summary.criteria.items(), ("all rows", summary.rows)):
        yield _cells(name, totals)


def counted(report: RunReport) -> str:
    """The counts and the cost in a sentence."""
    shown = ", ".join(f"{report.counts[outcome]:,} {outcome}" for outcome in OUTCOMES)
    cost = f"{shown}; {report.summary.rows.cost_usd:.4f} USD."
    if report.summary.simulated:
        cost += f" {report.summary.simulated:,} verdicts are simulated: no model was called."
    return cost


def _cells(name: str, totals: CriterionTotals) -> tuple[str, ...]:
    return (
        name,
        f"{totals.total:,}",
        "–" if totals.mean is None else f"{totals.mean:.4f}",
        f"{totals.passed:,}",
        f"{totals.failed:,}",
        "–" if totals.pass_rate is None else f"{totals.pass_rate:.1%}",
        f"{totals.left_out.total():,}",
        f"{totals.skipped:,}",
        f"{totals.cost_usd:.4f}",
        totals.why_unscored,
    )


def _verdict(result: Mapping[str, Any]) -> RowVerdict:
    outcome: Outcome | Literal["scored", "skipped"] = outcome_of(result)
    if outcome == "unscored" and (status := result.get("status")) in {"scored", "skipped"}:
        outcome = status
    said = result.get("explanation") or ""
    if reason := result.get("reason"):
        said = f"{reason}: {said}" if said else str(reason)
    return RowVerdict(
        str(result.get("name")),
        outcome,
        result.get("score"),
        result.get("threshold"),
        shortened(said, EXPLANATION_CHARS_MAX),
    )


def _text(value: Any) -> str:
    """A field of a case as text: messages as JSON."""
    if value is None:
        return ""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return shortened(value, TEXT_CHARS_MAX)

"""The totals of a run as a table, and the gate over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.cli.app import Exit, notice, printable
from assay.domain.unasked import unasked
from assay.reports.totals import REASONS_SHOWN_MAX, CriterionTotals, Summary

TABLE_COLUMNS = 120
GATE_REFUSED = "assay: gate refused: verdicts are simulated. To try it, add --allow-simulated"
ROUNDING = 1e-9


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

    def refuses(self, summary: Summary) -> bool:
        """Whether simulated verdicts stand in the way: by default they are no verdicts."""
        return self.has_bounds and bool(summary.simulated) and not self.allow_simulated

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
    """The exit code for complete results, or for those of a batch whose gates are `decided`."""
    if gate.refuses(summary):
        notice(GATE_REFUSED)
        return Exit.INCOMPLETE
    rows = summary.rows
    failed = [one["statement"] for one in decided if one["verdict"] == "failed"]
    missed = failed if decided else gate.missed(rows)
    if missed:
        notice("assay: gate not met: " + "; ".join(missed))
        return Exit.NOT_MET
    if not rows.total:
        notice("assay: there are no rows, so nothing is judged")
    undecided = gate.min_pass_rate is not None and rows.passed + rows.failed < rows.total
    undecided |= any(one["verdict"] == "undecided" for one in decided)
    return Exit.INCOMPLETE if rows.left_out or not rows.total or undecided else Exit.OK


def _table(summary: Summary) -> Table:
    table = Table(title="Evaluation")
    table.add_column("criterion", overflow="fold")
    for heading in ("rows", "mean score", "pass rate", "unscored", "skipped", "cost USD"):
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
    unscored, skipped = (
        f"{count / total:.1%}" if total else "–"
        for count in (totals.left_out.total(), totals.skipped)
    )
    shown = (
        name,
        str(total),
        "–" if totals.mean is None else f"{totals.mean:.4f}",
        "–" if totals.pass_rate is None else f"{totals.pass_rate:.1%}",
        unscored,
        skipped,
        f"{totals.cost_usd:.4f}",
        why,
    )
    return [Text(printable(cell)) for cell in shown]

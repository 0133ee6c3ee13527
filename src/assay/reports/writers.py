"""Writes a report: as a page, as JUnit XML and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from assay.reports.html import to_html
from assay.reports.junit import JUnitCase, junit_xml
from assay.reports.report import (
    HEADINGS,
    OUTCOMES,
    Outcome,
    ReportedRow,
    RunReport,
    counted,
    criteria_cells,
)
from assay.reports.text import markdown_table, plain, shortened

ROWS_IN_MARKDOWN_MAX = 50
OUTPUT_CHARS_SHOWN = 200
LINE_CHARS_SHOWN = 400
JUNIT: Mapping[Outcome, Literal["passed", "failure", "error"]] = {
    "passed": "passed",
    "failed": "failure",
    "unscored": "error",
}


def write_report(
    report: RunReport,
    *,
    html: Path | None = None,
    junit: Path | None = None,
    markdown: Path | None = None,
) -> None:
    """Write the forms that have a path; raises `OSError`."""
    for path, to_text in ((html, to_html), (junit, to_junit), (markdown, to_markdown)):
        if path is not None:
            # A lone surrogate is no character that a file can hold.
            path.write_text(to_text(report), "utf-8", errors="backslashreplace")


def to_markdown(report: RunReport) -> str:
    """A table of the criteria, and the first rows that failed or are unscored."""
    lines = [f"## {plain(report.title)}", ""]
    lines += [f"- {plain(statement)}" for statement in (*report.statements, counted(report))]
    lines += ["", *markdown_table(HEADINGS, criteria_cells(report.summary))]
    for outcome in OUTCOMES[:2]:
        rows = report.rows(outcome)[:ROWS_IN_MARKDOWN_MAX]
        if rows:
            lines += ["", f"### {outcome.capitalize()}", ""]
        for row in rows:
            lines.append(f"- **{plain(row.name)}**: {_short(row.output, OUTPUT_CHARS_SHOWN)}")
            lines += [f"  - {_short(line, LINE_CHARS_SHOWN)}" for line in row.lines()]
        if more := report.left_out(outcome, ROWS_IN_MARKDOWN_MAX):
            lines.append(f"- and {more:,} more")
    return "\n".join(lines) + "\n"


def to_junit(report: RunReport) -> str:
    """A test case for each row: a failure if it failed, an error if it is unscored."""
    cases = [
        JUnitCase(report.title, row.name, JUNIT[outcome], row.at_fault, _at_length(row))
        for outcome in OUTCOMES
        for row in report.rows(outcome)
    ]
    more = {outcome: report.left_out(outcome) for outcome in OUTCOMES}
    left_out = [f"{count:,} more rows {outcome}" for outcome, count in more.items() if count]
    return junit_xml(report.title, cases, [*report.statements, counted(report), *left_out])


def _at_length(row: ReportedRow) -> str:
    """Nothing of a row that passed; else the verdicts and the output."""
    return "" if row.outcome == "passed" else "\n".join((*row.lines(), f"output: {row.output}"))


def _short(text: str, chars_max: int) -> str:
    return plain(shortened(text, chars_max))

"""The comparison of two runs as a table, as Markdown, as JUnit XML and as JSON."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.cli.app import printable
from assay.cli.summary import TABLE_COLUMNS
from assay.reports.junit import JUnitCase, junit_xml
from assay.reports.text import markdown_table, plain

Format = Literal["table", "json", "markdown", "junit"]
Comparison = Mapping[str, Any]
HEADINGS = ("criterion", "measure", "base", "candidate", "difference", "95 % interval",
            "p adjusted", "rows", "worse", "better", "verdict")  # fmt: skip


def rendered(comparison: Comparison, report: Format, *, any_regression: bool) -> str:
    """The report; with `any_regression`, JUnit fails criteria with any row that is worse."""
    match report:
        case "json":
            return orjson.dumps(comparison, option=orjson.OPT_INDENT_2).decode() + "\n"
        case "markdown":
            return "\n".join(_markdown(comparison)) + "\n"
        case "junit":
            return _junit(comparison, any_regression)
        case "table":
            return _table(comparison)


def _table(comparison: Comparison) -> str:
    table = Table(title="Comparison")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for cells in _cells(comparison):
        table.add_row(*map(Text, cells))
    out = io.StringIO()
    Console(file=out, width=TABLE_COLUMNS + 20).print(table)
    return out.getvalue() + "".join(f"{line}\n" for line in _lines(comparison))


def _markdown(comparison: Comparison) -> Iterator[str]:
    yield from markdown_table(HEADINGS, _cells(comparison))
    yield ""
    for line in _lines(comparison):
        yield f"- {plain(line)}"


def _junit(comparison: Comparison, any_regression: bool) -> str:
    """A test case for each criterion: failed if it is worse, an error if nothing can be said."""
    runs = " to ".join(comparison[run]["id"] for run in ("candidate", "base"))
    cases = (_test_case(runs, criterion, any_regression) for criterion in comparison["criteria"])
    said = (*comparison["warnings"], *comparison["statements"])
    return junit_xml("assay compare", cases, said)


def _test_case(runs: str, criterion: Mapping[str, Any], any_regression: bool) -> JUnitCase:
    verdicts = {one["verdict"] for one in criterion["differences"]}
    text = "\n".join(_criterion_lines(criterion))
    worse = criterion["regressions"]["total"]
    if "regression" in verdicts or (any_regression and worse):
        message = f"rows that are worse: {worse}"
        return JUnitCase(runs, criterion["name"], "failure", message, text)
    if verdicts == {None}:
        return JUnitCase(runs, criterion["name"], "error", "nothing can be tested", text)
    return JUnitCase(runs, criterion["name"], "passed", text=text)


def _cells(comparison: Comparison) -> Iterator[list[str]]:
    for criterion in comparison["criteria"]:
        for one in criterion["differences"]:
            interval = one["ci95"]
            cells = (
                criterion["name"],
                one["measure"].replace("_", " "),
                _number(one["base"]),
                _number(one["candidate"]),
                _number(one["difference"], "+.4f"),
                "–" if interval is None else " to ".join(format(end, "+.4f") for end in interval),
                _number(one["p_adjusted"], ".2g"),
                str(one["rows"]),
                str(one["regressed"]),
                str(one["improved"]),
                (one["verdict"] or "not tested").replace("_", " "),
            )
            yield [printable(cell) for cell in cells]


def _lines(comparison: Comparison) -> Iterator[str]:
    """What the table does not say, as sentences."""
    yield from (printable(f"Warning: {text}") for text in comparison["warnings"])
    yield from map(printable, comparison["statements"])
    yield f"{comparison['items_common']} items are in both runs."
    for run in ("base", "candidate"):
        if alone := comparison[f"items_only_{run}"]["total"]:
            yield f"{alone} items are in the {run} alone and not compared."
    for criterion in comparison["criteria"]:
        yield from _criterion_lines(criterion)


def _criterion_lines(criterion: Mapping[str, Any]) -> Iterator[str]:
    name = printable(criterion["name"])
    for one in criterion["differences"]:
        measure = f"{name}, {one['measure'].replace('_', ' ')}"
        yield from (printable(f"{measure}: {text}") for text in one["statements"])
        if one["bounds"][0] < one["bounds"][1]:
            low, high = one["bounds"]
            yield f"{measure}: with the unscored rows it could be from {low:+.4f} to {high:+.4f}."
        if one["verdict"] == "no_significant_change" and one["smallest_detectable"] is not None:
            yield f"{measure}: smallest detectable difference {one['smallest_detectable']:.4f}."
    for kind, words in (("regressions", "worse"), ("unscored", "unscored on one side")):
        rows, total = criterion[kind]["rows"], criterion[kind]["total"]
        if total:
            yield f"{name}, rows that are {words}: {total}{_first(rows, total)}"
            yield from (_row(row) for row in rows)


def _first(rows: Sequence[Any], total: int) -> str:
    return f", of which the first {len(rows)}" if len(rows) < total else ""


def _row(row: Mapping[str, Any]) -> str:
    sides = (_side(row[run]) for run in ("base", "candidate"))
    return printable(f"  {row['item_id']}: " + " to ".join(sides))


def _side(side: Mapping[str, Any]) -> str:
    if side["reason"] is not None:
        return f"unscored ({side['reason']})"
    passed = {True: " passed", False: " failed", None: ""}[side["passed"]]
    return f"{side['score']:.4g}{passed}"


def _number(value: float | None, form: str = ".4f") -> str:
    return "–" if value is None else format(value, form)

"""What all tests of a run led to: the table at its end, its report, and its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from assay.pytest_plugin.judgements import JudgedRequest
from assay.pytest_plugin.options import Options
from assay.pytest_plugin.recordings import Entry, cached, read_entries, write_entries
from assay.reports.report import RunReport, counted
from assay.reports.text import shortened, text_table
from assay.reports.totals import CriterionTotals
from assay.reports.writers import write_report

HEADINGS = ("criterion", "passed", "failed", "unscored", "cost USD", "why unscored")
CRITERIA_SHOWN_MAX = 50
NAME_CHARS_MAX = 60


class RunOutcome:
    """Gathers judgements in the one process that reports and writes."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._report = RunReport("pytest", keep_rows=options.report is not None)
        self._origins: Counter[str] = Counter()
        self._used: dict[str, Entry] = {}
        self._notices: list[str] = []

    def add(self, judgement: JudgedRequest) -> None:
        """Count a judgement, and keep it if a file is to have it."""
        entry, origin = judgement["entry"], judgement["origin"]
        self._origins[origin] += 1
        if origin != "error" and (self._options.record or self._options.cache):
            self._used[entry["key"]] = entry
        if entry["path"] != "/v1/evaluations":
            return
        name = judgement["test"] + (f" sample {entry['sample'] + 1}" if entry["sample"] else "")
        response = entry["response"]
        if origin == "error":
            message = f"{response['code']}: {response['detail']}"
            self._report.add_failure(name, entry["request"], response["code"], message)
        else:
            paid = response if origin == "service" else _for_free(response)
            self._report.add(name, entry["request"], paid)

    def write(self) -> None:
        """Write the record, the cache and the report; what cannot be written is a notice."""
        used, options = self._used, self._options
        try:
            if options.record is not None:
                write_entries(options.record, {**read_entries(options.record), **used}.values())
                self._notices.append(f"Verdicts are recorded in {options.record}.")
            if options.cache is not None:
                write_entries(options.cache, cached(used, read_entries(options.cache)))
            if options.report is not None:
                options.report.parent.mkdir(parents=True, exist_ok=True)
                write_report(self._report, html=options.report)
                self._notices.append(f"The report is {options.report}.")
        except OSError as error:
            self._notices.append(f"{error.filename}: {error.strerror}")

    def lines(self) -> Iterator[str]:
        """The table of the criteria, and where verdicts came from."""
        criteria = list(self._report.summary.criteria.items())
        if criteria:
            shown = [_cells(name, totals) for name, totals in criteria[:CRITERIA_SHOWN_MAX]]
            yield from text_table(HEADINGS, shown)
        if len(criteria) > CRITERIA_SHOWN_MAX:
            yield f"and {len(criteria) - CRITERIA_SHOWN_MAX} more criteria"
        names = ("service", "cached", "replayed", "error")
        origins = ", ".join(f"{n} {name}" for name in names if (n := self._origins[name]))
        yield f"{self._origins.total()} judgements ({origins}): {counted(self._report)}"
        yield from self._notices


def _cells(name: str, totals: CriterionTotals) -> tuple[str, ...]:
    return (
        shortened(name, NAME_CHARS_MAX),
        str(totals.passed),
        str(totals.failed),
        str(totals.left_out.total()),
        f"{totals.cost_usd:.4f}",
        totals.why_unscored,
    )


def _for_free(response: dict[str, Any]) -> dict[str, Any]:
    """A response from a file, which costs nothing now."""
    results = [{**result, "cost_usd": 0.0} for result in response.get("results", ())]
    return {**response, "cost_usd": 0.0, "results": results}

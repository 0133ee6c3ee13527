"""One run over a file: rows in, results out, in the same order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import IO, Any

import orjson
from rich.console import Console

from assay.cli.app import printable
from assay.cli.progress import FAULTS_SHOWN_MAX, Display, display_for
from assay.cli.rows import Row, Source, open_output, stream_rows
from assay.client import AsyncAssay, for_each_in_order
from assay.errors import ServiceError, to_error
from assay.reports.report import RunReport

FATAL_CODES = frozenset(
    {"unauthenticated", "forbidden", "not_found", "unknown_criterion", "unknown_model"}
    | {"unreachable"}
)
"""Errors that every other row would meet as well: the run stops and keeps its results."""


@dataclass(frozen=True, slots=True)
class Job:
    """The input, the output, and the fields that every request has."""

    source: Source
    out: str | None
    defaults: dict[str, Any]
    concurrency: int
    quiet: bool = False
    keep_rows: bool = False
    """Whether the report has the rows, as its files do."""


@dataclass(slots=True)
class Outcome:
    """The result of a run; `stopped` says why it ended early."""

    report: RunReport
    stopped: str = ""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """A row with its evaluation or its error."""

    row: Row
    evaluation: dict[str, Any] | None = None
    error: ServiceError | None = None

    def to_line(self) -> bytes:
        """The result as a line of the results file."""
        record: dict[str, Any] = {"line": self.row.line, "id": self.row.id}
        if self.error is not None:
            record["error"] = self.error.to_dict()
        else:
            record["evaluation"] = self.evaluation
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


class _Stopped(Exception):
    """Ends the run; the outcome has the reason."""


async def run(job: Job, opening: AbstractAsyncContextManager[AsyncAssay]) -> Outcome:
    """Score all rows; on SIGINT or SIGTERM, keep the results so far."""
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError):  # no signal handlers on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    outcome = Outcome(RunReport(f"assay evaluate {job.source.path}", keep_rows=job.keep_rows))
    console = Console(stderr=True)
    try:
        display = display_for(console, job.source.size_bytes, quiet=job.quiet)
        output = contextlib.nullcontext() if job.out is None else open_output(job.out)
        with output as file, display:
            async with opening as client:
                collector = _Collector(outcome, file, display)
                await for_each_in_order(
                    stream_rows(job.source),
                    lambda row: _score(row, job.defaults, client),
                    collector.take,
                    job.concurrency,
                )
    except asyncio.CancelledError:
        outcome.interrupted = True
    except _Stopped:
        pass
    except OSError as error:
        outcome.stopped = (
            f"{error.filename or job.out or job.source.path}: {error.strerror or error}"
        )
    return outcome


async def _score(row: Row, defaults: dict[str, Any], client: AsyncAssay) -> RowOutcome:
    if row.case is None:
        return RowOutcome(row, error=to_error("bad_row", row.fault))
    try:
        body = {**defaults, **row.case}
        return RowOutcome(row, await client.request("POST", "/v1/evaluations", body))
    except ServiceError as error:
        return RowOutcome(row, error=error)


class _Collector:
    """Counts, writes and shows results in order; stops the run at a fatal error."""

    def __init__(self, outcome: Outcome, file: IO[bytes] | None, display: Display) -> None:
        self._outcome = outcome
        self._file = file
        self._display = display
        self._rows = 0
        self._failed = 0

    def take(self, result: RowOutcome) -> None:
        if self._file is not None:
            self._file.write(result.to_line())
            self._file.flush()
        self._rows += 1
        row = result.row
        named = (f"line {row.line}" if row.id is None else str(row.id), row.case or {})
        if result.error is not None:
            self._failed += 1
            self._outcome.report.add_failure(*named, result.error.code, str(result.error))
            self._show(row, result.error)
        elif result.evaluation is not None:
            self._outcome.report.add(*named, result.evaluation)
        self._display.update(self._rows, self._failed, row.end)
        if (
            result.error is not None
            and result.error.code in FATAL_CODES
            and not self._outcome.stopped
        ):
            self._outcome.stopped = str(result.error)
            raise _Stopped

    def _show(self, row: Row, error: ServiceError) -> None:
        if self._failed <= FAULTS_SHOWN_MAX:
            self._display.say(printable(f"line {row.line}: {error}"))
        if self._failed == FAULTS_SHOWN_MAX:
            self._display.say("(further failed rows are counted but not shown)")

"""`assay evaluate`: score a file of cases, and use the result as a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from assay.cli import options
from assay.cli.app import Exit, app, examples, needs_server, notice, usage_error
from assay.cli.rows import STDIN
from assay.cli.run import Job, Outcome, run
from assay.cli.summary import Bounds, conclude, show
from assay.client import AsyncAssay, RetryPolicy
from assay.client.wire import given
from assay.reports.writers import write_report

CONCURRENCY_MAX = 1_000


@app.command(
    epilog=examples(
        'assay evaluate cases.csv --criteria "The answer is polite." --min-pass-rate 0.9',
        "assay evaluate cases.jsonl --criteria @criteria.json --out results.jsonl",
        """cat cases.jsonl | assay evaluate - --criteria '{"type": "json_valid"}' --out -""",
    )
)
def evaluate(
    source: options.SourceFile,
    *,
    criteria: options.CriteriaOption,
    form: options.FormatOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="ASSAY_URL", help="URL of the service. Default: score in this process."
        ),
    ] = None,
    api_key_file: options.ApiKeyFile = None,
    judge: options.JudgeOption = None,
    out: Annotated[str | None, typer.Option(help="File for results; - is stdout.")] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=CONCURRENCY_MAX, help="Rows scored at the same time.")
    ] = 16,
    min_score: options.MinScore = None,
    min_pass_rate: options.MinPassRate = None,
    allow_simulated: options.AllowSimulated = False,
    retry_for_s: options.RetryFor = options.RETRY_FOR_S,
    config: Annotated[
        Path | None, typer.Option(help="Configuration for scoring in this process.")
    ] = None,
    report: options.HtmlReport = None,
    junit: options.JUnitReport = None,
    markdown: options.MarkdownReport = None,
    quiet: options.Quiet = False,
) -> None:
    """Score each row of a file, and use the result as a gate.

    A row has the fields "id"?, "input"?, "output", "reference"?, … of a case; a column of a table
    with another name is in the case's "fields". "criteria" and "judge" of a row override the
    options. Each line of --out has the row's "line" and "id", and its "evaluation" or its "error",
    in the order of the input.

    Exit codes: 0 all rows have a score and the gate is met; 1 the gate is not met; 2 wrong
    arguments; 3 some rows have no score, the run stopped early, or the gate is refused because
    verdicts are simulated; 130 interrupted, with the results so far.
    """
    defaults = given(criteria=options.read_criteria(criteria, quiet=quiet), judge=judge)
    read = options.read_source(source, form, out, report, junit, markdown)
    retry_policy = RetryPolicy(retry_for_s=retry_for_s)
    client = _client(url, api_key_file, config, retry_policy, concurrency)
    reports = {"html": report, "junit": junit, "markdown": markdown}
    job = Job(read, out, defaults, concurrency, quiet=quiet, keep_rows=any(reports.values()))
    outcome = asyncio.run(run(job, client))
    gate = Bounds(min_score, min_pass_rate, allow_simulated)
    _write(outcome, gate, reports)
    raise typer.Exit(_conclude(outcome, out, gate))


def _client(
    url: str | None,
    api_key_file: Path | None,
    config: Path | None,
    retry_policy: RetryPolicy,
    concurrency: int,
) -> AbstractAsyncContextManager[AsyncAssay]:
    """A client of the service at `url`, or of one that is started in this process."""
    if not url:
        with needs_server():
            from assay.cli.in_process import open_in_process  # noqa: PLC0415  # slow: only if used
        return open_in_process(config, retry_policy, concurrency)
    settings = {"retry_policy": retry_policy, "connections_max": concurrency}
    return options.client_for(AsyncAssay, url, api_key_file, **settings)


def _write(outcome: Outcome, gate: Bounds, reports: Mapping[str, Path | None]) -> None:
    """Write the reports, also of a run that stopped; exits if a file cannot be written."""
    report = outcome.report
    if outcome.stopped:
        report.statements.append(f"The run stopped: {outcome.stopped}")
    if outcome.interrupted:
        report.statements.append("The run was interrupted.")
    if gate.refuses(report.summary):
        report.statements.append("The gate is refused, because verdicts are simulated.")
    else:
        missed = gate.missed(report.summary.rows)
        report.statements += [f"Gate not met: {bound}." for bound in missed]
    try:
        write_report(report, **reports)
    except OSError as error:
        usage_error(f"{error.filename}: {error.strerror}")


def _conclude(outcome: Outcome, out: str | None, gate: Bounds) -> Exit:
    """Show the summary and choose the exit code."""
    show(outcome.report.summary, Console(stderr=out == STDIN))
    if outcome.stopped:
        notice(f"assay: stopped: {outcome.stopped}")
    if outcome.interrupted:
        notice(f"assay: interrupted after {outcome.report.summary.rows.total} rows")
        return Exit.INTERRUPTED
    return Exit.INCOMPLETE if outcome.stopped else conclude(outcome.report.summary, gate)

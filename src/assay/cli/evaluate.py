"""`assay evaluate`: score a file of cases, and use the result as a gate."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from assay.cli import options
from assay.cli.app import Exit, app, notice, usage_error
from assay.cli.rows import STDIN
from assay.cli.run import Job, Outcome, run
from assay.cli.scorers import Scorer, open_remote
from assay.cli.summary import TABLE_COLUMNS, gate_failures, summary_table
from assay.client import RetryPolicy

CONCURRENCY_MAX = 1_000


@app.command()
def evaluate(
    source: options.Source,
    *,
    criteria: options.CriteriaOption,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="ASSAY_URL", help="URL of the service. Default: score in this process."
        ),
    ] = None,
    api_key_file: options.ApiKeyFile = None,
    judge: options.JudgeOption = None,
    out: Annotated[
        str | None, typer.Option(help="File for results as JSON Lines; - is stdout.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=CONCURRENCY_MAX, help="Rows scored at the same time.")
    ] = 16,
    min_score: options.MinScore = None,
    min_pass_rate: options.MinPassRate = None,
    retry_for_s: options.RetryFor = options.RETRY_FOR_S,
    config: Annotated[
        Path | None, typer.Option(help="Configuration for scoring in this process.")
    ] = None,
) -> None:
    """Score each row of FILE.jsonl: {"id"?, "input"?, "output", "reference"?, …}.

    "criteria" and "judge" of a row override the options. Each line of --out has the row's "line"
    and "id", and its "evaluation" or its "error", in the order of the input.

    Exit codes: 0 all rows have a score and the gate is met; 1 the gate is not met; 2 wrong
    arguments; 3 some rows have no score, or the run stopped early; 130 interrupted, with the
    results so far.
    """
    defaults: dict[str, Any] = {"criteria": options.read_criteria(criteria)}
    if judge is not None:
        defaults["judge"] = judge
    options.check_files(source, out)
    retry_policy = RetryPolicy(retry_for_s=retry_for_s)
    scorer = _scorer(url, api_key_file, config, retry_policy, concurrency)
    outcome = asyncio.run(run(Job(source, out, defaults, concurrency), scorer))
    raise typer.Exit(_conclude(outcome, out, min_score, min_pass_rate))


def _scorer(
    url: str | None,
    api_key_file: Path | None,
    config: Path | None,
    retry_policy: RetryPolicy,
    concurrency: int,
) -> AbstractAsyncContextManager[Scorer]:
    if not url:
        from assay.cli.in_process import open_in_process  # noqa: PLC0415  # slow: only if used

        return open_in_process(config, retry_policy, concurrency)
    if not url.startswith(("http://", "https://")):
        usage_error("--url must start with http:// or https://")
    return open_remote(url, options.key_from(api_key_file), retry_policy, concurrency)


def _conclude(
    outcome: Outcome, out: str | None, min_score: float | None, min_pass_rate: float | None
) -> Exit:
    """Show the summary and choose the exit code."""
    console = Console(stderr=out == STDIN)
    if not console.is_terminal:
        console.width = TABLE_COLUMNS
    rows = outcome.summary.rows
    if rows.total:
        console.print(summary_table(outcome.summary))
    if outcome.summary.simulated:
        notice(f"assay: {outcome.summary.simulated} verdicts are SIMULATED: no model was called")
    if outcome.stopped:
        notice(f"assay: stopped: {outcome.stopped}")
    if outcome.interrupted:
        notice(f"assay: interrupted after {rows.total} rows")
        return Exit.INTERRUPTED
    missed = gate_failures(rows, min_score, min_pass_rate)
    if missed and not outcome.stopped:
        notice("assay: gate not met: " + "; ".join(missed))
        return Exit.NOT_MET
    undecided = min_pass_rate is not None and rows.pass_rate is None
    incomplete = outcome.stopped or rows.left_out or not rows.total or undecided
    return Exit.INCOMPLETE if incomplete else Exit.OK

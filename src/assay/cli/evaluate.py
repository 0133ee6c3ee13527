"""`assay evaluate`: score a file of cases, and use the result as a gate."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from assay.cli.app import Exit, app, notice, usage_error
from assay.cli.rows import STDIN
from assay.cli.run import Job, Outcome, run
from assay.cli.scorers import Scorer, open_remote
from assay.cli.summary import gate_failures, summary_table
from assay.client import ApiKey, RetryPolicy

CONCURRENCY_MAX = 1_000
TABLE_COLUMNS = 120


@app.command()
def evaluate(
    source: Annotated[
        str, typer.Argument(metavar="FILE.jsonl", help="Cases as JSON Lines; - reads stdin.")
    ],
    *,
    criteria: Annotated[
        list[str], typer.Option(help="A rubric as text, or @file.json with one or more criteria.")
    ],
    url: Annotated[
        str | None,
        typer.Option(
            envvar="ASSAY_URL", help="URL of the service. Default: score in this process."
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the API key. Default: $ASSAY_API_KEY.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="Name of a configured judge.")] = None,
    out: Annotated[
        str | None, typer.Option(help="File for results as JSON Lines; - is stdout.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=CONCURRENCY_MAX, help="Rows scored at the same time.")
    ] = 16,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Gate: lowest mean score.")
    ] = None,
    min_pass_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Gate: lowest pass rate.")
    ] = None,
    retry_for_s: Annotated[
        float, typer.Option(min=0, max=3600, help="How long to retry a row, in seconds.")
    ] = 60.0,
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
    defaults: dict[str, Any] = {"criteria": read_criteria(criteria)}
    if judge is not None:
        defaults["judge"] = judge
    check_files(source, out)
    retry_policy = RetryPolicy(retry_for_s=retry_for_s)
    scorer = _scorer(url, api_key_file, config, retry_policy, concurrency)
    outcome = asyncio.run(run(Job(source, out, defaults, concurrency), scorer))
    raise typer.Exit(_conclude(outcome, out, min_score, min_pass_rate))


def read_criteria(given: list[str]) -> list[Any]:
    """The `criteria` field of a request: each text unchanged, each @file as its JSON."""
    criteria: list[Any] = []
    for option in given:
        if not option.startswith("@"):
            criteria.append(option)
            continue
        try:
            read = orjson.loads(Path(option[1:]).read_bytes())
        except OSError as error:
            usage_error(f"--criteria {option}: {error.strerror}")
        except orjson.JSONDecodeError as error:
            usage_error(f"--criteria {option}: not valid JSON: {error}")
        criteria.extend(read if isinstance(read, list) else [read])
    if not criteria or not all(isinstance(item, str | dict) and item for item in criteria):
        usage_error("--criteria: each must be a non-empty text or a non-empty JSON object")
    return criteria


def check_files(source: str, out: str | None) -> None:
    """Exit if the input does not exist, or if the output would overwrite it."""
    if source != STDIN and not Path(source).exists():
        usage_error(f"{source}: file not found")
    if source != STDIN and Path(source).is_dir():
        usage_error(f"{source}: is a directory")
    if out is None or STDIN in (source, out):
        return
    if Path(out).exists() and Path(out).samefile(source):
        usage_error("--out would overwrite the input")


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
    return open_remote(url, key_from(api_key_file), retry_policy, concurrency)


def key_from(api_key_file: Path | None) -> ApiKey | None:
    """The key in the file or in $ASSAY_API_KEY, or None; exits if it is malformed."""
    try:
        if api_key_file is not None:
            return ApiKey.from_file(api_key_file)
        secret = os.environ.get("ASSAY_API_KEY", "").strip()
        return ApiKey(secret) if secret else None
    except OSError as error:
        usage_error(f"{api_key_file}: {error.strerror}")
    except ValueError as error:
        usage_error(str(error))


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

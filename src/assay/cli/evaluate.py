"""`assay evaluate`: score a file of cases, and pass or fail it as a gate."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from assay.cli.app import Exit, app, notice, refuse
from assay.cli.rows import STDIN
from assay.cli.run import Job, Outcome, run
from assay.cli.scorers import Scorer, open_remote
from assay.cli.summary import gate_failures, summary_table
from assay.client import ApiKey, RetryPolicy

CONCURRENCY_MAX = 1_000
TABLE_COLUMNS = 120


@app.command()
def evaluate(
    source: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="Cases; - reads stdin.")],
    *,
    criteria: Annotated[
        list[str], typer.Option(help="A rubric in words, or @file.json with one or more criteria.")
    ],
    url: Annotated[
        str | None, typer.Option(envvar="ASSAY_URL", help="The service; none: in this process.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="Where the API key is; else $ASSAY_API_KEY.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="A configured judge.")] = None,
    out: Annotated[str | None, typer.Option(help="Results as JSON Lines; - is stdout.")] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=CONCURRENCY_MAX, help="Rows at work at a time.")
    ] = 16,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Gate: lowest mean score.")
    ] = None,
    min_pass_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Gate: lowest share of rows that pass.")
    ] = None,
    retry_for_s: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds to retry a row for.")
    ] = 60.0,
    config: Annotated[Path | None, typer.Option(help="assay.toml, to score in process.")] = None,
) -> None:
    """Score each row of FILE.jsonl: {"id"?, "input"?, "output", "reference"?, …}.

    A row's own "criteria" and "judge" come before the options. Each line of --out has the row's
    "line" and "id", and its "evaluation" or its "error", in the order of the input.

    Exit codes: 0 all rows have a score and the gate is met; 1 the gate is not met; 2 wrong use;
    3 rows are left without a score, or the run stopped early; 130 interrupted, results kept.
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
    """The `criteria` field of a request: each text as it is, each @file as the JSON it holds."""
    criteria: list[Any] = []
    for each in given:
        if not each.startswith("@"):
            criteria.append(each)
            continue
        try:
            read = orjson.loads(Path(each[1:]).read_bytes())
        except OSError as error:
            refuse(f"--criteria {each}: {error.strerror}")
        except orjson.JSONDecodeError as error:
            refuse(f"--criteria {each}: not valid JSON: {error}")
        criteria.extend(read if isinstance(read, list) else [read])
    if not all(isinstance(each, str | dict) and each for each in criteria) or not criteria:
        refuse("--criteria: each must be a text or a JSON object, and none may be empty")
    return criteria


def check_files(source: str, out: str | None) -> None:
    """Leave where the input is not there, or the output would overwrite it."""
    if source != STDIN and not Path(source).exists():
        refuse(f"{source}: no such file")
    if source != STDIN and Path(source).is_dir():
        refuse(f"{source}: is a folder")
    if out is None or STDIN in (source, out):
        return
    if Path(out).exists() and Path(out).samefile(source):
        refuse("--out would overwrite the input")


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
        refuse("--url must start with http:// or https://")
    return open_remote(url, key_from(api_key_file), retry_policy, concurrency)


def key_from(api_key_file: Path | None) -> ApiKey | None:
    """The key in the file or in $ASSAY_API_KEY, where there is one; leaves where it is none."""
    try:
        if api_key_file is not None:
            return ApiKey.from_file(api_key_file)
        secret = os.environ.get("ASSAY_API_KEY", "").strip()
        return ApiKey(secret) if secret else None
    except OSError as error:
        refuse(f"{api_key_file}: {error.strerror}")
    except ValueError as error:
        refuse(str(error))


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
        notice(f"assay: {outcome.summary.simulated} verdicts are SIMULATED: no model was asked")
    if outcome.stopped:
        notice(f"assay: stopped: {outcome.stopped}")
    if outcome.interrupted:
        notice(f"assay: interrupted; {rows.total} rows are done")
        return Exit.INTERRUPTED
    missed = gate_failures(rows, min_score, min_pass_rate)
    if missed and not outcome.stopped:
        notice("assay: gate not met: " + "; ".join(missed))
        return Exit.NOT_MET
    undecided = min_pass_rate is not None and rows.pass_rate is None
    incomplete = outcome.stopped or rows.left_out or not rows.total or undecided
    return Exit.INCOMPLETE if incomplete else Exit.OK

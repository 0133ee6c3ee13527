"""`assay compare`: two runs compared by item, as a report and as a gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.batches.run_results import RunResults
from assay.cli import options
from assay.cli.app import Exit, app, examples, needs_server, notice, usage_error
from assay.cli.comparison_report import Format, rendered
from assay.cli.rows import read_rows
from assay.cli.summary import GATE_REFUSED
from assay.client import Assay, RetryPolicy
from assay.domain.batches import BATCH_ID
from assay.domain.errors import RequestError
from assay.errors import ServiceError


@app.command(
    epilog=examples(
        "assay compare main.jsonl branch.jsonl --format markdown",
        "assay compare batch_01… batch_02… --any-regression",
    )
)
def compare(
    base: Annotated[str, typer.Argument(help="The earlier run: a batch's id, or a file.")],
    candidate: Annotated[str, typer.Argument(help="The run that is compared to it.")],
    *,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
    report: Annotated[Format, typer.Option("--format", help="Form of the report.")] = "table",
    rows: Annotated[
        int, typer.Option(min=1, max=1_000, help="Changed rows shown of each criterion.")
    ] = 20,
    any_regression: Annotated[
        bool, typer.Option("--any-regression", help="Gate: no row may be worse.")
    ] = False,
    junit: options.JUnitReport = None,
    markdown: options.MarkdownReport = None,
    allow_simulated: options.AllowSimulated = False,
    retry_for_s: options.RetryFor = options.RETRY_FOR_S,
) -> None:
    """Compare the batch or file CANDIDATE to BASE, item by item.

    Both are ids of batches on a service, or files of results as JSON Lines: what `assay batch run`
    and `assay evaluate` write with --out, or what the API gives. Files are compared here.

    Exit codes: 0 no criterion is significantly worse; 1 one is, or with --any-regression a row is
    worse; 2 wrong arguments; 3 nothing could be compared, or verdicts are simulated.
    """
    by_id = [BATCH_ID.fullmatch(run) is not None for run in (base, candidate)]
    if any(by_id) and not all(by_id):
        usage_error("BASE and CANDIDATE must both be ids of batches, or both files")
    try:
        if all(by_id):
            policy = RetryPolicy(retry_for_s=retry_for_s)
            with options.client_for(Assay, url, api_key_file, retry_policy=policy) as client:
                batch = client.batches.get(candidate)
                comparison = batch.compare(base, limit=rows, progress=True)
        else:
            comparison = _compare_files(base, candidate, rows)
    except (ServiceError, RequestError) as error:
        notice(f"assay: nothing is compared: {error}")
        raise typer.Exit(Exit.INCOMPLETE) from None
    sys.stdout.write(rendered(comparison, report, any_regression=any_regression))
    _write(junit, rendered(comparison, "junit", any_regression=any_regression))
    _write(markdown, rendered(comparison, "markdown", any_regression=any_regression))
    raise typer.Exit(_conclude(comparison, any_regression, allow_simulated))


def _compare_files(base: str, candidate: str, rows: int) -> dict[str, Any]:
    with needs_server():
        from assay.batches.comparing import compare_results  # noqa: PLC0415  # slow: only if used
        from assay.domain.exact_json import dumps, loads  # noqa: PLC0415

    runs = [_read(path) for path in (base, candidate)]
    document: dict[str, Any] = loads(dumps(compare_results(runs[0], runs[1], rows)))
    return document


def _read(path: str) -> RunResults:
    """The results in a file; exits if a line is none."""
    run = RunResults(path)
    try:
        with Path(path).open("rb") as file:
            for row in read_rows(file):
                if row.case is None:
                    usage_error(f"{path}: line {row.line}: {row.fault}")
                evaluated = row.id if row.id is not None else f"line-{row.case.get('line')}"
                item_id = str(row.case.get("item_id", evaluated))
                try:
                    index = row.case.get("item_index")
                    run.add(
                        item_id,
                        row.case.get("evaluation") or row.case,
                        index if isinstance(index, int) else None,
                    )
                except RequestError as error:
                    usage_error(f"{path}: line {row.line}: {error}")
    except OSError as error:
        usage_error(f"{path}: {error.strerror}")
    return run


def _write(path: Path | None, report: str) -> None:
    try:
        if path is not None:
            path.write_text(report, encoding="utf-8")
    except OSError as error:
        usage_error(f"{path}: {error.strerror}")


def _conclude(comparison: dict[str, Any], any_regression: bool, allow_simulated: bool) -> Exit:
    simulated = comparison["base"]["simulated"] or comparison["candidate"]["simulated"]
    if simulated and not allow_simulated:
        notice(GATE_REFUSED)
        return Exit.INCOMPLETE
    worse = any(criterion["regressions"]["total"] for criterion in comparison["criteria"])
    if comparison["regression"] or (any_regression and worse):
        return Exit.NOT_MET
    return Exit.INCOMPLETE if comparison["regression"] is None else Exit.OK

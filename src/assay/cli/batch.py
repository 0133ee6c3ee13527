"""`assay batch run`: score a file of rows as one batch, and use the result as a gate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from assay.cli import listing, options
from assay.cli.app import Exit, app, examples, notice, printable, usage_error
from assay.cli.progress import FAULTS_SHOWN_MAX, Display, display_for
from assay.cli.rows import STDIN, Source, open_output, stream_rows
from assay.cli.summary import Bounds, conclude, show
from assay.client import AsyncAssay, RetryPolicy
from assay.client.wire import LOST, NDJSON, given
from assay.errors import ServiceError
from assay.reports.totals import Summary

batch_app = typer.Typer(
    help="Score the rows of a file as one batch, which outlasts this process.",
    no_args_is_help=True,
)
app.add_typer(batch_app, name="batch")
BatchId = Annotated[str, typer.Argument(help="The id of the batch.")]
COLUMNS = {
    "id": "id",
    "status": "status",
    "rows": "counts.total",
    "waiting": "counts.pending",
    "cost USD": "cost_usd",
    "evaluator": "evaluator",
    "dataset": "dataset",
    "created": "created_at",
    "name": "name",
}
RUN_EXAMPLES = examples(
    'assay batch run cases.csv --criteria "The answer is polite." --watch',
    "assay batch run cases.jsonl --criteria @criteria.json --out results.jsonl --min-score 0.8",
)


@dataclass(slots=True)
class BatchJob:
    """The rows, the request that creates the batch, and what to wait for."""

    source: Source
    request: dict[str, Any]
    watch: bool
    out: str | None
    gate: Bounds
    quiet: bool
    standing: str = "no batch was made"
    """What is true of the batch if the command is interrupted now."""


@batch_app.command("list", epilog=examples("assay batch list", "assay batch list --json | jq .id"))
def list_batches(
    limit: listing.Limit = listing.LIMIT,
    as_json: listing.JsonLines = False,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """List the batches, newest first."""
    with listing.service(url, api_key_file) as client:
        found = (batch.raw for batch in client.batches.list())
        listing.print_listing(found, COLUMNS, limit=limit, as_json=as_json)


@batch_app.command("show", epilog=examples("assay batch show batch_01…"))
def show_batch(
    batch: BatchId,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Print a batch as JSON."""
    with listing.service(url, api_key_file) as client:
        listing.print_document(client.batches.get(batch).raw)


@batch_app.command(
    "results",
    epilog=examples(
        "assay batch results batch_01… --out results.jsonl",
        "assay batch results batch_01… --failed | jq .item_id",
    ),
)
def batch_results(
    batch: BatchId,
    criterion: Annotated[
        str | None, typer.Option(help="Only rows with a result of this criterion.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only rows that did not pass.")] = False,
    out: listing.OutFile = "-",
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Write the results of a batch so far as JSON Lines, in the order of the rows."""
    filters = given(criterion=criterion, passed="false" if failed else None)
    with listing.service(url, api_key_file) as client:
        found = client.batches.get(batch).results(**filters)
        listing.save_lines((result.raw for result in found), out)


@batch_app.command("cancel", epilog=examples("assay batch cancel batch_01…"))
def cancel_batch(
    batch: BatchId,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Cancel the rows that wait; rows in flight still get their result. Prints the batch."""
    with listing.service(url, api_key_file) as client:
        listing.print_document(client.batches.get(batch).cancel().raw)


@batch_app.command("run", epilog=RUN_EXAMPLES)
def run(
    source: options.SourceFile,
    *,
    criteria: options.CriteriaOption,
    form: options.FormatOption = None,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
    judge: options.JudgeOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the batch until it ends.")] = False,
    out: Annotated[str | None, typer.Option(help="File for results as JSON Lines.")] = None,
    min_score: options.MinScore = None,
    min_pass_rate: options.MinPassRate = None,
    stop_when_certain: Annotated[
        bool,
        typer.Option("--stop-when-certain", help="Judge in random order until the gate is sure."),
    ] = False,
    allow_simulated: options.AllowSimulated = False,
    retry_for_s: options.RetryFor = options.RETRY_FOR_S,
    quiet: options.Quiet = False,
) -> None:
    """Upload the rows of a file as a batch, and start it.

    A row has the fields "id"?, "input"?, "output", "group"?, "reference"?, … of a case; a column of
    a table with another name is in the case's "fields". A row without an id gets one from its line:
    line-1. Without --watch, --out and the gates, the command prints the id of the batch and exits;
    the batch continues.

    With --stop-when-certain, the batch ends as soon as it is certain, with an error of at most
    5 %, that the gate is met or is not.

    Exit codes: 0 the gate is met; 1 the gate is not met; 2 wrong arguments; 3 some rows have no
    score, the batch did not complete, or the gate is refused because verdicts are simulated; 130
    interrupted, and the batch continues if it was started.
    """
    read = options.read_source(source, form, out)
    gate = Bounds(min_score, min_pass_rate, allow_simulated)
    request = _request(
        options.read_criteria(criteria, quiet=quiet), judge, gate, stop=stop_when_certain
    )
    follows = watch or out is not None or gate.has_bounds
    job = BatchJob(read, request, follows, out, gate, quiet)
    retry_policy = RetryPolicy(retry_for_s=retry_for_s)
    client = options.client_for(AsyncAssay, url, api_key_file, retry_policy=retry_policy)
    raise typer.Exit(_finished(job, client))


def _finished(job: BatchJob, client: AsyncAssay) -> Exit:
    """The exit code of the run, which says why it stopped early."""
    try:
        return asyncio.run(_run(job, client))
    except KeyboardInterrupt:
        notice(f"assay: interrupted; {job.standing}")
        return Exit.INTERRUPTED
    except ServiceError as error:
        notice(f"assay: stopped: {error}")
    except OSError as error:
        named = error.filename or job.source.path
        notice(f"assay: stopped: {named}: {error.strerror or error}")
    return Exit.INCOMPLETE


def _request(criteria: list[Any], judge: str | None, gate: Bounds, *, stop: bool) -> dict[str, Any]:
    """What creates the batch."""
    request: dict[str, Any] = {"criteria": criteria, "gates": gate.to_gates()}
    if judge is not None:
        request["judge"] = judge
    if stop:
        if not request["gates"]:
            usage_error("--stop-when-certain needs a --min-score or a --min-pass-rate")
        request["stop_when_certain"] = {}
    return request


async def _run(job: BatchJob, opening: AsyncAssay) -> Exit:
    console = Console(stderr=True)
    async with opening as client:
        batch = await client.post("/v1/batches", **job.request)
        notice(f"assay: batch {batch['id']}")
        job.standing = "the batch is not started"
        left_out = await _started(job, client, batch["id"], console)
        if not job.watch:
            return Exit.INCOMPLETE if left_out else Exit.OK
        ended = await _follow(client, batch["id"], console, quiet=job.quiet)
        summary = await _results(job, client, batch["id"])
    return _conclude(job, ended, summary, left_out)


async def _started(job: BatchJob, client: AsyncAssay, batch_id: str, console: Console) -> int:
    """Send the rows and start the batch, or remove it; return the number of bad rows."""
    try:
        left_out = await _upload(job, client, batch_id, console)
        job.standing = "the batch may be started"
        await client.post(f"/v1/batches/{batch_id}/start")
        job.standing = "the batch continues"
    except (OSError, ServiceError) as error:
        # After a lost connection it may have started.
        if not isinstance(error, ServiceError) or error.code not in LOST:
            with contextlib.suppress(ServiceError):
                await client.request("DELETE", f"/v1/batches/{batch_id}")
        raise
    return left_out


async def _upload(job: BatchJob, client: AsyncAssay, batch_id: str, console: Console) -> int:
    """Send the rows; return the number of bad ones."""
    bad: list[str] = []
    with display_for(console, job.source.size_bytes, quiet=job.quiet) as display:
        # A retry adds no row twice, because the service knows rows by their ids.
        response = await client.request(
            "PUT",
            f"/v1/batches/{batch_id}/items",
            content=lambda: _lines(job.source, display, bad),
            headers={"Content-Type": NDJSON},
            repeatable=not job.source.is_stdin,
        )
        bad += [f"line {row['line']}: {row['message']}" for row in response["bad_rows"]]
        for fault in bad[:FAULTS_SHOWN_MAX]:
            display.say(printable(fault))
    left_out = len(bad) - len(response["bad_rows"]) + int(response["rejected"])
    if left_out:
        notice(f"assay: {left_out} rows are invalid and not part of the batch")
    return left_out


async def _lines(source: Source, display: Display, bad: list[str]) -> AsyncIterator[bytes]:
    """The rows to send: one line for each line of the file, so that line numbers agree."""
    bad.clear()
    sent, line = 0, 0
    async for row in stream_rows(source):
        # Blank lines for skipped ones: line numbers of the service and of the file agree.
        padding = b"\n" * (row.line - line - 1)
        line = row.line
        if row.case is None:
            bad.append(f"line {row.line}: {row.fault}")
            yield padding + b"\n"
            continue
        sent += 1
        identifier = f"line-{row.line}" if row.id is None else row.id
        yield padding + orjson.dumps({"id": identifier, **row.case}) + b"\n"
        display.update(sent, len(bad), row.end)


async def _follow(
    client: AsyncAssay, batch_id: str, console: Console, *, quiet: bool
) -> Mapping[str, Any]:
    """Show progress until the batch ends."""
    batch = await client.batches.get(batch_id)
    with display_for(console, batch.raw["counts"]["total"], quiet=quiet) as display:
        async for latest in batch.follow():
            counts = latest.raw["counts"]
            done = counts["total"] - counts["pending"]
            display.update(done, counts["unscored"] + counts["failed"], done)
    return batch.raw


async def _results(job: BatchJob, client: AsyncAssay, batch_id: str) -> Summary:
    """Write the results and summarise them."""
    summary = Summary()
    with nullcontext() if job.out is None else open_output(job.out) as file:
        batch = await client.batches.get(batch_id)
        async for read in batch.results():
            result = read.raw
            if file is not None:
                file.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
            if "error" in result:
                summary.add_failure(str(result["error"].get("code")))
            else:
                summary.add_evaluation(result)
    return summary


def _conclude(job: BatchJob, batch: Mapping[str, Any], summary: Summary, left_out: int) -> Exit:
    """Show the summary and choose the exit code."""
    show(summary, Console(stderr=job.out == STDIN))
    if batch["status"] not in ("completed", "decided"):
        notice(f"assay: the batch is {batch['status']}")
        return Exit.INCOMPLETE
    stop = batch["stop_when_certain"]
    if stop is not None and stop["saved"] is not None:
        for gate in batch["gates"]:
            notice(f"assay: {gate['statement']}")
        saved = stop["saved"]
        notice(f"assay: {saved['rows']} rows not judged, about {saved['cost_usd']:.4f} USD saved")
    code = conclude(summary, job.gate, batch["gates"])
    return Exit.INCOMPLETE if left_out and code is Exit.OK else code

"""`assay calibrate` and `assay labels`: judges beside what people say, through the service."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from assay.cli import options
from assay.cli.app import Exit, app, check_url, notice, printable, usage_error
from assay.cli.rows import STDIN
from assay.client import AsyncAssay
from assay.client.wire import NDJSON, given
from assay.errors import ServiceError

labels_app = typer.Typer(help="What people say of cases.", no_args_is_help=True)
app.add_typer(labels_app, name="labels")

BatchOption = Annotated[str | None, typer.Option(help="Id of an ended batch.")]
EvaluatorOption = Annotated[
    str | None, typer.Option(help="With --dataset: the newest batch of this evaluator over it.")
]
DatasetOption = Annotated[str | None, typer.Option(help="With --evaluator: a dataset.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the response as JSON.")]


@app.command("calibrate")
def calibrate(
    *,
    batch: BatchOption = None,
    evaluator: EvaluatorOption = None,
    dataset: DatasetOption = None,
    draw: Annotated[
        str | None, typer.Option(help="A draw whose labels correct the mean.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only labels of items in it.")] = None,
    precision_min: Annotated[
        float | None, typer.Option(help="Propose the lowest threshold of this precision.")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="With --delta: certify that at most this share of accepted verdicts"
                     " of a cascade disagrees with people."),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help="With --alpha: except with this probability.")
    ] = None,
    as_json: JsonOption = False,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:  # fmt: skip
    """Say how far the judge of a batch agrees with the labels of its cases.

    Exit codes: 0 there is a report; 1 no certificate could be given; 2 wrong arguments; 3 the
    service refused or did not answer.
    """
    if (alpha is None) != (delta is None):
        usage_error("--alpha and --delta belong together")
    wanted: dict[str, Any] = {
        **_results(batch, evaluator, dataset),
        "labels": given(draw=draw, split=split),
        **given(precision_min=precision_min),
    }
    if alpha is not None:
        wanted["cascade"] = {"alpha": alpha, "delta": delta}
    made = _from_service(url, api_key_file, lambda client: client.calibrations.create(**wanted))
    _print(made, as_json=as_json, lines=_calibration_lines)
    reports = [report for criterion in made["criteria"] for report in criterion["reports"]]
    certificates = [report["certificate"] for report in reports if report["certificate"]]
    if alpha is not None and not any(found["thresholds"] for found in certificates):
        raise typer.Exit(Exit.NOT_MET)


@labels_app.command("draw")
def draw_labels(
    *,
    criterion: Annotated[str, typer.Option(help="The criterion to label by.")],
    batch: BatchOption = None,
    evaluator: EvaluatorOption = None,
    dataset: DatasetOption = None,
    count: Annotated[
        float | None, typer.Option("--labels", help="How many rows, on average.")
    ] = None,
    half_width: Annotated[
        float | None, typer.Option(help="As many as a mean with an interval of ± this takes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same rows.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the rows, ready to be filled in and added.")
    ] = None,
    as_json: JsonOption = False,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Draw the rows of a batch that people should label next."""
    wanted = {
        "criterion": criterion,
        **_results(batch, evaluator, dataset),
        **given(labels=count, half_width=half_width, seed=seed),
    }
    made = _from_service(url, api_key_file, lambda client: client.labels.draw(**wanted))
    if out is not None:
        rows = [row for row in made["data"] if not row["labelled"]]
        lines = [orjson.dumps(_to_fill_in(made, row)) + b"\n" for row in rows]
        try:
            out.write_bytes(b"".join(lines))
        except OSError as error:
            usage_error(f"{out}: {error.strerror}")
    _print(made, as_json=as_json, lines=_draw_lines)


@labels_app.command("add")
def add_labels(
    source: options.SourceFile,
    *,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Add labels from a file, one as JSON on each line: all of them, or none."""
    try:
        content = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        usage_error(f"{source}: {error.strerror}")

    async def send(client: AsyncAssay) -> dict[str, Any]:
        headers = {"Content-Type": NDJSON}
        return await client.request(
            "POST", "/v1/labels", content=content, headers=headers, repeatable=False
        )

    added = _from_service(url, api_key_file, send)
    notice(f"assay: {len(added['data'])} labels added")


def _results(batch: str | None, evaluator: str | None, dataset: str | None) -> dict[str, Any]:
    if (batch is None) == (evaluator is None) or (evaluator is None) != (dataset is None):
        usage_error("give --batch, or --evaluator and --dataset")
    return given(batch=batch, evaluator=evaluator, dataset=dataset)


def _from_service(
    url: str,
    api_key_file: Path | None,
    work: Callable[[AsyncAssay], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """What the service answers; exits if it refuses."""
    check_url(url)

    async def run() -> dict[str, Any]:
        async with AsyncAssay(url, options.key_from(api_key_file), timeout_s=600.0) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except ServiceError as error:
        notice(f"assay: {error}")
        raise typer.Exit(Exit.INCOMPLETE) from error


def _print(
    document: Mapping[str, Any],
    *,
    as_json: bool,
    lines: Callable[[Mapping[str, Any]], Iterator[str]],
) -> None:
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for line in lines(document):
        typer.echo(printable(line))


def _to_fill_in(draw: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """A label without its value and its annotator."""
    if draw["dataset"]:
        item = {"dataset": draw["dataset"], "id": row["item_id"]}
    else:
        item = {"batch": draw["batch"], "item_id": row["item_id"]}
    return {"item": item, "criterion": draw["criterion"], "annotator": "", "passed": None}


def _draw_lines(draw: Mapping[str, Any]) -> Iterator[str]:
    rows = draw["data"]
    yield f"{draw['id']}: {len(rows)} of {draw['rows']} rows, {draw['unlabelled']} without a label"
    if draw["plan"]:
        yield draw["plan"]["statement"]
    for row in rows:
        done = "  labelled" if row["labelled"] else ""
        yield f"  {row['item_id']}  drawn with probability {row['probability']:.3f}{done}"


def _calibration_lines(made: Mapping[str, Any]) -> Iterator[str]:
    yield f"{made['id']}: {made['rows']} rows of {made['batch']}"
    yield from made["statements"]
    for criterion in made["criteria"]:
        yield ""
        yield f"{criterion['criterion']}: {criterion['labels']} labels"
        yield from _indented(criterion["statements"])
        for report in criterion["reports"]:
            yield from _report_lines(report)


def _report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    agreement = report["agreement"]
    yield from _indented([*agreement["statements"], *report["statements"]])
    yield from _figure_lines(agreement["figures"])
    people = report["people"].get("pairwise_agreement")
    if people and people["value"] is not None:
        yield from _figure_lines({"people agree with each other": people})
    for model, of_model in report["by_model"].items():
        yield f"  {model}:"
        yield from _figure_lines(of_model["figures"])
    if (threshold := report["threshold"]) is not None:
        value = threshold["value"]
        shown = "" if value is None else f"threshold {value:.3g}: "
        yield f"  {shown}{threshold['statement']}"
    if (mean := report["debiased"]) is not None:
        yield from _figure_lines(
            {"mean, corrected": mean["debiased"], "mean, judge only": mean["judge_only"]}
        )
        yield from _indented(mean["statements"])
    if (certificate := report["certificate"]) is not None:
        thresholds = [_shown_threshold(value) for value in certificate["thresholds"] or ()]
        found = (
            f"certified with thresholds {', '.join(thresholds)}" if thresholds else "no certificate"
        )
        yield f"  {found}: {certificate['statement']}"
        if thresholds:
            decided, cost = certificate["coverage"], certificate["cost"]
            yield f"  the cascade decides {decided:.0%} of cases at {cost:.3g} USD a case"


def _figure_lines(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, figure in figures.items():
        if figure["value"] is None:
            yield f"  {name.replace('_', ' ')}: none. {figure['statement']}"
            continue
        interval = figure["interval"]
        shown = f", from {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        yield f"  {name.replace('_', ' ')}: {figure['value']:.3f}{shown}"


def _shown_threshold(value: float | None) -> str:
    return "none (not asked)" if value is None else f"{value:.3g}"


def _indented(lines: Sequence[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)

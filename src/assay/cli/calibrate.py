"""`assay calibrate` and `assay labels`: judges beside what people say, through the service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli import listing, options
from assay.cli.app import Exit, app, examples, notice, printable, usage_error
from assay.cli.rows import STDIN
from assay.client.wire import NDJSON, given

labels_app = typer.Typer(help="What people say of cases.", no_args_is_help=True)
app.add_typer(labels_app, name="labels")

BatchOption = Annotated[str | None, typer.Option(help="Id of an ended batch.")]
EvaluatorOption = Annotated[
    str | None, typer.Option(help="With --dataset: the newest batch of this evaluator over it.")
]
DatasetOption = Annotated[str | None, typer.Option(help="With --evaluator: a dataset.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the response as JSON.")]


LABEL_COLUMNS = {
    "id": "id",
    "batch": "item.batch",
    "dataset": "item.dataset",
    "row": "item.item_id",
    "item": "item.id",
    "criterion": "criterion",
    "annotator": "annotator",
    "passed": "passed",
    "label": "label",
    "score": "score",
    "comment": "comment",
}
DRAW_COLUMNS = {
    "id": "id",
    "batch": "batch",
    "dataset": "dataset",
    "criterion": "criterion",
    "drawn": "size",
    "rows": "rows",
    "created": "created_at",
}


@app.command(
    "calibrate",
    epilog=examples(
        "assay calibrate --batch batch_01…",
        "assay calibrate --evaluator polite --dataset questions --precision-min 0.95",
    ),
)
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
    with listing.service(url, api_key_file) as client:
        made = client.calibrations.create(**wanted)
    _print(made, as_json=as_json, lines=_calibration_lines)
    reports = [report for criterion in made["criteria"] for report in criterion["reports"]]
    certificates = [report["certificate"] for report in reports if report["certificate"]]
    if alpha is not None and not any(found["thresholds"] for found in certificates):
        raise typer.Exit(Exit.NOT_MET)


@labels_app.command(
    "list",
    epilog=examples(
        "assay labels list --dataset questions", "assay labels list --json | jq .annotator"
    ),
)
def list_labels(
    *,
    batch: Annotated[str | None, typer.Option(help="Only of rows of this batch.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only of items of this dataset.")] = None,
    criterion: Annotated[str | None, typer.Option(help="Only by this criterion.")] = None,
    annotator: Annotated[str | None, typer.Option(help="Only of this person.")] = None,
    limit: listing.Limit = listing.LIMIT,
    as_json: listing.JsonLines = False,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """List the labels that stand, newest first."""
    filters = given(batch=batch, dataset=dataset, criterion=criterion, annotator=annotator)
    with listing.service(url, api_key_file) as client:
        found = client.labels.list(**filters)
        listing.print_listing(found, LABEL_COLUMNS, limit=limit, as_json=as_json)


@labels_app.command("draws", epilog=examples("assay labels draws"))
def list_draws(
    limit: listing.Limit = listing.LIMIT,
    as_json: listing.JsonLines = False,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """List the draws of rows to label, newest first."""
    with listing.service(url, api_key_file) as client:
        found = client.labels.draws()
        listing.print_listing(found, DRAW_COLUMNS, limit=limit, as_json=as_json)


@labels_app.command(
    "draw",
    epilog=examples(
        "assay labels draw --batch batch_01… --criterion polite --labels 50 --out to-label.jsonl"
    ),
)
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
    with listing.service(url, api_key_file) as client:
        made = client.labels.draw(**wanted)
    if out is not None:
        rows = [row for row in made["data"] if not row["labelled"]]
        listing.save_lines((_to_fill_in(made, row) for row in rows), str(out))
    _print(made, as_json=as_json, lines=_draw_lines)


@labels_app.command("add", epilog=examples("assay labels add labelled.jsonl"))
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

    with listing.service(url, api_key_file) as client:
        headers = {"Content-Type": NDJSON}
        added = client.request(
            "POST", "/v1/labels", content=content, headers=headers, repeatable=False
        )
    notice(f"assay: {len(added['data'])} labels added")


def _results(batch: str | None, evaluator: str | None, dataset: str | None) -> dict[str, Any]:
    if (batch is None) == (evaluator is None) or (evaluator is None) != (dataset is None):
        usage_error("give --batch, or --evaluator and --dataset")
    return given(batch=batch, evaluator=evaluator, dataset=dataset)


def _print(
    document: Mapping[str, Any],
    *,
    as_json: bool,
    lines: Callable[[Mapping[str, Any]], Iterator[str]],
) -> None:
    if as_json:
        listing.print_document(document)
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

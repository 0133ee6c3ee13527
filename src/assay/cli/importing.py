"""`assay import openai-evals`: evals, runs and their rows from an account, or from a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from assay.cli import options
from assay.cli.app import Exit, app, examples, notice, printable, usage_error
from assay.client import AsyncAssay
from assay.errors import ServiceError

OPENAI_URL = "https://api.openai.com/v1"
PAGE = 100
KINDS = ("eval", "eval.run", "eval.run.output_item")

import_app = typer.Typer(
    help="Bring records from an export, or from another tool.", no_args_is_help=True
)
app.add_typer(import_app, name="import")


@dataclass(slots=True)
class Export:
    """Evals, runs and output items, as OpenAI's API answers them, by id."""

    found: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )

    def add(self, value: Any) -> None:
        """Keep an object, or all objects of a list."""
        if isinstance(value, list):
            for one in value:
                self.add(one)
        elif isinstance(value, dict) and value.get("object") == "list":
            self.add(value.get("data"))
        elif isinstance(value, dict) and value.get("object") in KINDS and "id" in value:
            self.found[value["object"]][str(value["id"])] = value

    def of(self, kind: str, **fields: str) -> list[dict[str, Any]]:
        """The objects of a kind that have these values."""
        return [
            one
            for one in self.found[kind].values()
            if all(one.get(name) == value for name, value in fields.items())
        ]


@dataclass(slots=True)
class ImportReport:
    """What was brought, and what was not, with the reason."""

    brought: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@import_app.command(
    "openai-evals",
    epilog=examples(
        "assay import openai-evals", "assay import openai-evals exported/ --judge-again"
    ),
)
def openai_evals(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of JSON or JSON Lines with evals, runs and output items. Default: the "
            "account of $OPENAI_API_KEY at $OPENAI_BASE_URL."
        ),
    ] = None,
    *,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
    judge_again: Annotated[
        bool,
        typer.Option("--judge-again", help="Start a batch over the outputs of each run, too."),
    ] = False,
) -> None:
    """Make an evaluator of each eval and a dataset of the rows of each run.

    Prints what could not be brought, and why. Scores are not brought: with --judge-again, Assay
    judges the same outputs.
    """
    client = options.client_for(AsyncAssay, url, api_key_file)
    try:
        export = read_folder(folder) if folder else asyncio.run(_read_account())
    except (OSError, ValueError, ServiceError) as error:
        usage_error(f"the evals cannot be read: {error}")
    report = asyncio.run(_bring(export, client, judge_again=judge_again))
    for line in report.brought:
        typer.echo(printable(line))
    for line in report.left:
        notice(f"not brought: {line}")
    raise typer.Exit(Exit.INCOMPLETE if report.left else Exit.OK)


def read_folder(folder: Path) -> Export:
    """All objects in the files of a folder; raises `OSError` and `ValueError`."""
    export = Export()
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".jsonl", ".ndjson"):
            continue
        content = path.read_bytes()
        parts = [content] if path.suffix == ".json" else content.splitlines()
        try:
            for part in filter(bytes.strip, parts):
                export.add(orjson.loads(part))
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{path}: {error}") from None
    return export


async def _read_account() -> Export:
    """All objects of an account; raises `ServiceError`."""
    secret = os.environ.get("OPENAI_API_KEY", "").strip()
    if not secret:
        raise ValueError("set OPENAI_API_KEY, or give a folder")
    export = Export()
    async with AsyncAssay(os.environ.get("OPENAI_BASE_URL") or OPENAI_URL, secret) as client:
        async for made in _pages(client, "/evals"):
            export.add(made)
            async for run in _pages(client, f"/evals/{made['id']}/runs"):
                export.add(run)
                items = f"/evals/{made['id']}/runs/{run['id']}/output_items"
                async for item in _pages(client, items):
                    export.add(item)
    return export


async def _pages(client: AsyncAssay, path: str) -> AsyncIterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = await client.get(path, limit=PAGE, after=after)
        data = page.get("data") or []
        for one in data:
            yield one
        if not data or not page.get("has_more"):
            return
        after = data[-1]["id"]


async def _bring(export: Export, opening: AsyncAssay, *, judge_again: bool) -> ImportReport:
    report = ImportReport()
    async with opening as client:
        for old in export.of("eval"):
            name = f"eval {old['id']} ({old.get('name') or 'without a name'})"
            try:
                made = await client.request("POST", "/v1/evals", eval_request(old))
            except ServiceError as error:
                report.left.append(f"{name}: {error.detail}")
                continue
            report.brought.append(f"{name} is the evaluator {made['id']}")
            for run in export.of("eval.run", eval_id=old["id"]):
                await _bring_run(export, client, run, made["id"], report, judge_again=judge_again)
    return report


async def _bring_run(
    export: Export,
    client: AsyncAssay,
    run: Mapping[str, Any],
    eval_id: str,
    report: ImportReport,
    *,
    judge_again: bool,
) -> None:
    name = f"run {run['id']} ({run.get('name') or 'without a name'})"
    rows = list(rows_of(run, export.of("eval.run.output_item", run_id=run["id"])))
    if not rows:
        report.left.append(f"{name}: its rows are not in the export")
        return
    content = b"\n".join(map(orjson.dumps, rows))
    try:
        file = await client.request(
            "POST",
            "/v1/files",
            data={"purpose": "evals"},
            files={"file": (f"{run['id']}.jsonl", content)},
            repeatable=False,
        )
        report.brought.append(f"{name} has its {len(rows)} rows in the dataset {file['id']}")
        if judge_again:
            source = {"type": "jsonl", "source": {"type": "file_id", "id": file["id"]}}
            body = {"name": run.get("name") or run["id"], "data_source": source}
            made = await client.request("POST", f"/v1/evals/{eval_id}/runs", body)
            report.brought.append(f"{name} is judged again as {made['id']}")
    except ServiceError as error:
        report.left.append(f"{name}: {error.detail}")


def eval_request(old: Mapping[str, Any]) -> dict[str, Any]:
    """The request that makes the same eval."""
    config = old.get("data_source_config") or {}
    source = {"type": config.get("type"), "metadata": config.get("metadata")}
    if config.get("type") == "custom":
        properties = (config.get("schema") or {}).get("properties") or {}
        source = {
            "type": "custom",
            "item_schema": properties.get("item") or {},
            "include_sample_schema": "sample" in properties,
        }
    return {
        "name": old.get("name"),
        "metadata": old.get("metadata"),
        "data_source_config": source,
        "testing_criteria": [_without_nulls(one) for one in old.get("testing_criteria") or []],
    }


def rows_of(run: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of a run with their outputs; from its output items if there are any."""
    for item in sorted(items, key=lambda one: int(one.get("datasource_item_id") or 0)):
        said = (item.get("sample") or {}).get("output") or []
        text = said[-1].get("content") if said else None
        sample = {"sample": {"output_text": text}} if isinstance(text, str) else {}
        yield {"item": item.get("datasource_item") or {}, **sample}
    source = (run.get("data_source") or {}).get("source") or {}
    if not items:
        yield from source.get("content") or []


def _without_nulls(value: Any) -> Any:
    """A criterion as it was sent: the service answers null for what is not given."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value

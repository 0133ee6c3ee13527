"""Prints what the service keeps: a listing as a table or JSON Lines, a document as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.cli import options
from assay.cli.app import Exit, notice, printable, usage_error
from assay.cli.rows import STDIN, open_output
from assay.client import Assay
from assay.errors import ServiceError

TIMEOUT_S = 600.0
TABLE_COLUMNS = 240
"""The width of a table where there is no terminal: wide enough to cut nothing off."""
JsonLines = Annotated[bool, typer.Option("--json", help="Print the documents as JSON Lines.")]
Limit = Annotated[int, typer.Option(min=1, help="Maximum number of entries to show.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
OutFile = Annotated[str, typer.Option("--out", "-o", help="File to write; - is stdout.")]
LIMIT = 100


@contextmanager
def service(url: str, api_key_file: Path | None) -> Iterator[Assay]:
    """A client of the service; exits if it refuses a call or does not answer."""
    try:
        with options.client_for(Assay, url, api_key_file, timeout_s=TIMEOUT_S) as client:
            yield client
    except ServiceError as error:
        notice(f"assay: {error}")
        raise typer.Exit(Exit.INCOMPLETE) from None


def print_listing(
    entries: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    limit: int = LIMIT,
    as_json: bool = False,
) -> None:
    """Print documents; `columns` are headings with the paths of their values (`counts.total`)."""
    left = iter(entries)
    shown = islice(left, limit)
    if as_json:
        write_lines(shown, sys.stdout.buffer)
    else:
        _print_table(shown, columns)
    if next(left, None) is not None:
        notice(f"assay: these are the first {limit} entries; --limit shows more")


def print_document(document: Mapping[str, Any]) -> None:
    """Print one document as indented JSON."""
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def write_lines(documents: Iterable[Mapping[str, Any]], file: IO[bytes]) -> int:
    """Write documents as JSON Lines, and count them."""
    count = 0
    for document in documents:
        file.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    file.flush()
    return count


def save_lines(documents: Iterable[Mapping[str, Any]], out: str) -> None:
    """Write documents as JSON Lines to a file or stdout; exits if it cannot be written."""
    try:
        with open_output(out) as file:
            count = write_lines(documents, file)
    except OSError as error:
        usage_error(f"{out}: {error.strerror}")
    if out != STDIN:
        notice(f"assay: {count} rows in {out}")


def confirm(question: str, *, yes: bool) -> None:
    """Exit unless the user agrees; without a terminal, only --yes agrees."""
    if yes:
        return
    if not sys.stdin.isatty():
        usage_error("there is no terminal to confirm this on: add --yes")
    typer.confirm(question, abort=True, err=True)


def _print_table(entries: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(*(Text(printable(_cell(entry, path))) for path in columns.values()))
    console = Console()
    if not console.is_terminal:
        console.width = TABLE_COLUMNS
    console.print(table if table.row_count else Text("none"))


def _cell(entry: Mapping[str, Any], path: str) -> str:
    value: Any = entry
    for name in path.split("."):
        value = _member(value, name)
    if isinstance(value, list):
        return ", ".join(str(_member(one, "name") or _member(one, "type") or one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None

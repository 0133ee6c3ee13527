"""The application that commands register on, and the output that they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text

from assay import __version__
from assay.errors import INSTALL
from assay.reports.text import printable as printable  # noqa: PLC0414  # commands take it from here


class Exit(IntEnum):
    """Exit codes of all commands."""

    OK = 0
    NOT_MET = 1
    """The gate is not met; for `probe`, the service is not ready."""
    USAGE = 2
    INCOMPLETE = 3
    """Some rows have no score, or the run stopped early."""
    INTERRUPTED = 130


# Local variables in a traceback would show keys and callers' texts.
app = typer.Typer(
    name="assay",
    help="Score the outputs of language models against criteria.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def examples(*commands: str) -> str:
    """The end of a command's help."""
    return "\n\n".join(("Examples:", *(f"$ {command}" for command in commands)))


def notice(message: str) -> None:
    """Print a message to stderr, with control characters escaped."""
    Console(stderr=True, soft_wrap=True).print(Text(printable(message)))


def usage_error(message: str) -> NoReturn:
    """Exit because the command was called with wrong arguments."""
    notice(f"assay: {message}")
    raise typer.Exit(Exit.USAGE)


@contextmanager
def needs_server() -> Iterator[None]:
    """Exit if an import in the block fails because only the client is installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("assay"):
            raise
        usage_error(f"this needs the service: {INSTALL}")


def add_missing(name: str) -> None:
    """Add a command of the service where only the client is installed: it says what to do."""

    def missing() -> None:
        usage_error(f"`assay {name}` needs the service: {INSTALL}")

    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(name, help="Needs the service, which is not installed.", context_settings=anything)(
        missing
    )


def check_url(url: str) -> None:
    """Exit if the value of --url is no URL that the client takes, which is not loaded for it."""
    try:
        parts = urlsplit(url)
        is_called = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_called = False
    if not is_called or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        usage_error("--url must start with http:// or https:// and a valid host, without a query")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"assay {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Score the outputs of language models against criteria."""
    _ = version

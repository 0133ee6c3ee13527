"""`assay keys`: API keys for tenants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.app import app, notice, usage_error
from assay.http.keys_file import new_key

keys_app = typer.Typer(help="API keys of tenants.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

KEYS_FILE_MODE = 0o600


@keys_app.command()
def create(
    tenant: Annotated[str, typer.Option(help="The tenant that gets the key.")],
    keys_file: Annotated[
        Path | None, typer.Option(help="Append the key's hash to this file (auth.keys_file).")
    ] = None,
    role: Annotated[
        str | None, typer.Option(help="What it permits: read, write (the default) or operator.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="Its last day (UTC), or a time such as 2026-12-31T18:00Z.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name in logs.")] = None,
) -> None:
    """Create an API key. It is shown only once; the keys file has only its hash.

    A tenant may have several keys: to replace one, create the next, and delete the old line when
    its name is no longer in the logs.
    """
    given = {"role": role, "expires": expires, "name": name}
    try:
        key, line = new_key(tenant, *(f"{key}={value}" for key, value in given.items() if value))
    except ValueError as error:
        usage_error(str(error))
    if keys_file is None:
        notice(
            "Keep the first line secret, and add the second line to the keys file (auth.keys_file)."
        )
        typer.echo(f"{key}\n{line}")
        return
    try:
        _append(keys_file, line)
    except OSError as error:
        usage_error(f"{keys_file}: {error.strerror}")
    notice(f"Added to {keys_file}. The key is not shown again.")
    typer.echo(key)


def _append(path: Path, line: str) -> None:
    """Add a line in one write; if the last line has no line end, add that first."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, KEYS_FILE_MODE)
    with os.fdopen(handle, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
        lacks_end = size > 0 and file.read(1) != b"\n"
        file.write((b"\n" if lacks_end else b"") + line.encode() + b"\n")

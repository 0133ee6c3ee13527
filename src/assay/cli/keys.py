"""`assay keys`: API keys for tenants."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import typer

from assay.cli import listing
from assay.cli.app import app, examples, notice, usage_error
from assay.domain.ids import shown_time
from assay.http.keys_file import FINGERPRINT_CHARS, new_key, parse_keys

keys_app = typer.Typer(help="API keys of tenants.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

KEYS_FILE_MODE = 0o600


@keys_app.command(
    "list", epilog=examples("assay keys list keys.txt", "assay keys list keys.txt --json")
)
def list_keys(
    keys_file: Annotated[Path, typer.Argument(help="The keys file (auth.keys_file).")],
    as_json: listing.JsonLines = False,
) -> None:
    """List the keys that a file allows, by the beginnings of their hashes; says what is unclear."""
    try:
        keys, faults = parse_keys(keys_file.read_text("utf-8-sig", errors="replace"))
    except OSError as error:
        usage_error(f"{keys_file}: {error.strerror}")
    found = [
        {
            "hash": digest[:FINGERPRINT_CHARS],
            "tenant": key.tenant,
            "role": key.role,
            "name": key.key_name,
            "expires": None if key.expires_s == math.inf else shown_time(int(key.expires_s * 1e3)),
        }
        for digest, key in keys.items()
    ]
    columns = {name: name for name in ("hash", "tenant", "role", "name", "expires")}
    listing.print_listing(found, columns, limit=max(len(found), 1), as_json=as_json)
    for fault in faults:
        notice(f"assay: {keys_file}: {fault}")


@keys_app.command(
    epilog=examples("assay keys create --tenant search --keys-file keys.txt --role write")
)
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

"""`assay export` and `assay import records`: a tenant's records as JSON Lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options
from assay.cli.app import app, examples, needs_server, notice, usage_error
from assay.cli.importing import import_app
from assay.cli.rows import STDIN, open_output

Tenant = Annotated[str, typer.Option(help="Whose records.")]


@app.command("export", epilog=examples("assay export --tenant search --output search.jsonl"))
def export(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; without it, stdout.")
    ] = None,
    tenant: Tenant = "default",
    config: options.ConfigFile = None,
) -> None:
    """Write all records of a tenant as JSON Lines."""
    with needs_server():
        from assay.bootstrap import export_records  # noqa: PLC0415
        from assay.cli.configuration import read_settings  # noqa: PLC0415
    try:
        settings = read_settings(config)
        with open_output(STDIN if output is None else str(output)) as file:
            count = export_records(settings, tenant, file)
    except (OSError, ValueError) as error:
        usage_error(f"the records cannot be exported: {error}")
    notice(f"{count} rows exported.")


@import_app.command("records", epilog=examples("assay import records search.jsonl --tenant search"))
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `assay export` wrote.")],
    tenant: Tenant = "default",
    config: options.ConfigFile = None,
) -> None:
    """Add the records of an export to a tenant: all that are new, or none if a name is taken."""
    with needs_server():
        from assay.bootstrap import import_records  # noqa: PLC0415
        from assay.cli.configuration import read_settings  # noqa: PLC0415
    try:
        with source.open("rb") as file:
            counts = import_records(read_settings(config), tenant, file)
    except (OSError, ValueError) as error:
        usage_error(f"the file cannot be imported: {error}")
    done = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    notice(f"Imported: {done or 'nothing'}.")

"""`assay migrate`: brings the schema of the records up to date."""

from __future__ import annotations

import typer

from assay.bootstrap import migrate_records
from assay.cli import options
from assay.cli.app import app, examples, usage_error
from assay.cli.configuration import read_settings


@app.command(epilog=examples("assay migrate --config assay.toml"))
def migrate(config: options.ConfigFile = None) -> None:
    """Bring the schema of the records up to date.

    To repeat it is harmless. Exit codes: 0 it is up to date; 2 it cannot be migrated.
    """
    try:
        migrate_records(read_settings(config))
    except (OSError, ValueError) as error:
        usage_error(f"the records cannot be migrated: {error}")
    typer.echo("The records are up to date.")

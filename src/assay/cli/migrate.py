"""`assay migrate`: brings the schema of the records up to date."""

from __future__ import annotations

import typer

from assay.bootstrap import migrate_records
from assay.cli import options
from assay.cli.app import app, usage_error
from assay.cli.configuration import read_settings


@app.command()
def migrate(config: options.ConfigFile = None) -> None:
    """Bring the schema of the records up to date; to repeat it is harmless."""
    try:
        migrate_records(read_settings(config))
    except (OSError, ValueError) as error:
        usage_error(f"the records cannot be migrated: {error}")
    typer.echo("The records are up to date.")

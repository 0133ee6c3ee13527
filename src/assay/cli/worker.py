"""`assay worker`: a process that does rows of batches."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from assay.bootstrap import run_worker, start_logging
from assay.cli.app import app, refuse
from assay.cli.configuration import read_settings


@app.command()
def worker(
    config: Annotated[
        Path | None, typer.Option(envvar="ASSAY_CONFIG", help="Default: assay.toml, if there.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address of health and metrics.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of health and metrics.")] = None,
) -> None:
    """Do rows of batches until SIGTERM or Ctrl-C; rows in hand are finished or handed back."""
    settings = read_settings(config, host=host, metrics_port=metrics_port)
    start_logging(settings)
    try:
        asyncio.run(run_worker(settings, _announce))
    except (OSError, ValueError) as error:
        refuse(str(error))


def _announce(operations: str) -> None:
    sys.stdout.write(f"assay worker is ready\n  metrics  {operations}/metrics\n")
    sys.stdout.flush()

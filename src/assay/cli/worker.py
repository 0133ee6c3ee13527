"""`assay worker`: a process that works on rows of batches."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
import uvloop

from assay.bootstrap import run_worker, start_logging
from assay.cli import options
from assay.cli.app import app, examples, usage_error
from assay.cli.configuration import read_settings


@app.command(epilog=examples("assay worker --config assay.toml"))
def worker(
    config: options.ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address of health checks and metrics.")] = None,
    metrics_port: options.MetricsPort = None,
) -> None:
    """Work on rows of batches until SIGTERM or Ctrl-C.

    Then the rows in hand are finished, or given back to other workers.
    """
    settings = read_settings(config, host=host, metrics_port=metrics_port)
    start_logging(settings)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_worker(settings, _announce))
    except (OSError, ValueError) as error:
        usage_error(str(error))


def _announce(operations: str) -> None:
    sys.stdout.write(f"assay worker is ready\n  metrics  {operations}/metrics\n")
    sys.stdout.flush()

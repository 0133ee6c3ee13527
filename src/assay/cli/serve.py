"""`assay serve`: the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop

from assay.bootstrap import EmbeddedError, run_service, start_logging
from assay.cli import options
from assay.cli.app import app, examples, usage_error
from assay.cli.configuration import read_settings
from assay.cli.demo import RECORDED
from assay.cli.local_model import WARNING, LocalModelError, local_judge, local_model
from assay.settings import Settings

DEMO = (
    "  This is a demonstration: verdicts are RECORDED or SIMULATED, and marked so.\n"
    "  Fill it with cases: assay demo --url URL\n"
)
EXAMPLE = {
    "input": "What is the capital of France?",
    "output": "Paris.",
    "criteria": [
        {"type": "contains", "value": "Paris"},
        "The answer is correct and polite.",
    ],
}


@app.command(
    epilog=examples(
        "assay serve", "assay serve --demo", "assay serve --config assay.toml --port 8080"
    )
)
def serve(
    config: options.ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 picks a free port.")] = None,
    metrics_port: options.MetricsPort = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory for the files of the private Redis.")
    ] = None,
    judge: Annotated[
        Literal["local"] | None,
        typer.Option(help="local: start a small language model as the default judge."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Configure the recorded judges of `assay demo`.")
    ] = False,
    stop_with_stdin: Annotated[
        bool,
        typer.Option("--stop-with-stdin", help="Stop when stdin closes, as with who started it."),
    ] = False,
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Exit codes: 0 everything in flight was finished; 1 something was not; 2 it cannot start.
    """
    if demo and judge:
        usage_error("--demo and --judge exclude each other")
    if stop_with_stdin:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    try:
        with local_model() if judge else nullcontext() as model_url:
            settings = read_settings(
                config,
                judge=local_judge(model_url) if model_url else RECORDED if demo else None,
                host=host,
                port=port,
                metrics_port=metrics_port,
                data_dir=data_dir,
            )
            start_logging(settings)
            warning = f"  {WARNING}\n" if model_url else DEMO if demo else _simulated(settings)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                drained = runner.run(run_service(settings, partial(_announce, settings, warning)))
    except (OSError, EmbeddedError, LocalModelError, ValueError) as error:
        usage_error(str(error))
    raise typer.Exit(0 if drained else 1)


def _stop_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 1_024):
        """Nothing is sent; it closes with the process that holds it."""
    os.kill(os.getpid(), signal.SIGTERM)


def _simulated(settings: Settings) -> str:
    if not settings.simulated:
        return ""
    return (
        "  No model is configured and no API key was found: verdicts are SIMULATED and marked so.\n"
        "  For a real model without a key, start with bin/serve --judge local.\n"
    )


def _announce(settings: Settings, warning: str, api: str, operations: str) -> None:
    judges = "\n".join(
        f"  {name}: {', '.join(judge.models)}" for name, judge in settings.judges.items()
    )
    warning += "".join(
        f"  {name}: {provider.api_key_env} is not set, so calls are sent without an API key.\n"
        for name, provider in settings.providers.items()
        if provider.api_key_env and not os.environ.get(provider.api_key_env)
    )
    key = " \\\n  -H 'Authorization: Bearer YOUR_KEY'" if settings.auth_required else ""
    sys.stdout.write(
        f"assay is ready\n"
        f"  API      {api}   (docs: {api}/docs)\n"
        f"  metrics  {operations}/metrics\n"
        f"  keys     {'required' if settings.auth_required else 'not required (loopback only)'}\n"
        f"judges\n{judges}\n{warning}"
        f"try\n  curl -s {api}/v1/evaluations -H 'Content-Type: application/json'{key} \\\n"
        f"  -d '{json.dumps(EXAMPLE)}'\n"
    )
    sys.stdout.flush()

"""`assay doctor`: what is wrong with an installation or a running service, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
import typer
from rich.console import Console
from rich.text import Text

from assay import __version__
from assay.cli import listing, options
from assay.cli.app import Exit, app, check_url, examples, needs_server, printable
from assay.cli.probe import NO_RESPONSE, ask_health
from assay.client import Assay, RetryPolicy
from assay.domain.diagnosis import CLOCK_S_MAX, Diagnosis, clock
from assay.errors import Forbidden, NotFound, ServiceError, Unauthorized

STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}
OPERATIONS_PORT = 9090
READY_S_MAX = 3.0
ROLES = {
    Unauthorized: "give a key of this service: --api-key-file or ASSAY_API_KEY",
    Forbidden: "ask for a key with more rights",
    NotFound: "--url must be that of the API, without a path",
}


@app.command(
    epilog=examples(
        "assay doctor",
        "assay doctor --config assay.toml --no-calls --json",
        "assay doctor --url https://assay.example --api-key-file key.txt",
    )
)
def doctor(
    *,
    config: options.ConfigFile = None,
    url: Annotated[
        str | None,
        typer.Option(help="Check a running service. Default: the installation on this machine."),
    ] = None,
    ready_url: Annotated[
        str | None,
        typer.Option(help="With --url: its health check. Default: /readyz at port 9090, if any."),
    ] = None,
    api_key_file: options.ApiKeyFile = None,
    no_calls: Annotated[
        bool, typer.Option("--no-calls", help="Do not check the models with a small call each.")
    ] = False,
    as_json: listing.JsonLines = False,
) -> None:
    """Say what is wrong with an installation or a service, and how to mend it.

    A line for each finding: ok, a warning, or what is wrong, with its remedy. Secrets are never
    shown. Exit codes: 0 nothing is wrong; 1 something is; 2 wrong arguments.
    """
    if url is None:
        with needs_server():
            import assay.bootstrap  # noqa: F401, PLC0415  # seconds: only if used
        found = asyncio.run(_all(_installation(config, calls=not no_calls), as_json=as_json))
    else:
        policy = RetryPolicy(retry_for_s=0)
        client = options.client_for(Assay, url, api_key_file, timeout_s=10.0, retry_policy=policy)
        found = [_shown(finding, as_json=as_json) for finding in _service(client, ready_url)]
    raise typer.Exit(Exit.NOT_MET if "wrong" in found else Exit.OK)


async def _all(findings: AsyncIterator[Diagnosis], *, as_json: bool) -> list[str]:
    return [_shown(finding, as_json=as_json) async for finding in findings]


def _shown(finding: Diagnosis, *, as_json: bool) -> str:
    """Print a finding at once, since the next one may take a while; returns its state."""
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(asdict(finding), option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        return finding.state
    remedy = f"; to mend it: {finding.remedy}" if finding.remedy else ""
    line = Text(f"{finding.state:8} ", STYLES[finding.state])
    line.append(printable(f"{finding.subject}: {finding.message}{remedy}"), "default")
    Console(soft_wrap=True).print(line)
    return finding.state


async def _installation(config: Path | None, *, calls: bool) -> AsyncIterator[Diagnosis]:
    """What is found on this machine; without valid settings, only what is wrong with them."""
    from assay.bootstrap import EmbeddedError, examine, start_logging  # noqa: PLC0415
    from assay.cli.models import look  # noqa: PLC0415
    from assay.settings import SettingsError, load, misspelt_variables  # noqa: PLC0415

    for sentence in misspelt_variables(os.environ):
        yield Diagnosis("environment", "warning", sentence, "rename it")
    try:
        settings = load(config, os.environ, {"telemetry": {"log_level": "error"}})
    except SettingsError as error:
        for line in str(error).splitlines():
            yield Diagnosis("configuration", "wrong", line, "docs/configuration.md has all keys")
        return
    start_logging(settings)
    yield Diagnosis("configuration", "ok", f"{len(settings.models)} models, all settings are valid")
    async for finding in examine(settings):
        yield finding
    try:
        rows, _ = await look(settings, checks=calls)
    except (OSError, EmbeddedError, ValueError) as error:
        yield Diagnosis("models", "wrong", str(error), "correct the setting that it names")
        return
    for row in rows:
        yield _model(row, settings.providers[row["provider"]].api_key_env)


def _model(row: dict[str, Any], key_variable: str) -> Diagnosis:
    subject, check = f"model {row['id']}", row["check"]
    if row["simulated"]:
        remedy = "configure a model, or set the API key of a provider in the environment"
        return Diagnosis(subject, "warning", "verdicts are SIMULATED", remedy)
    if check is None or check["ok"]:
        message = "is not asked" if check is None else f"answered in {check['latency_ms']:g} ms"
        return Diagnosis(subject, "ok", message)
    remedy = f"check its address, its name and its key ({key_variable or 'api_key_file'})"
    if row["did_you_mean"]:
        remedy = f"the provider lists {row['did_you_mean']!r}: correct the model's name"
    return Diagnosis(subject, "wrong", check["error"], remedy)


def _service(opening: Assay, ready_url: str | None) -> Iterator[Diagnosis]:
    """What is found of a running service, by its API and its health check."""
    yield from _ready(opening.url, ready_url)
    try:
        with opening as client:
            with client.stream("GET", "/v1/status") as response:
                then = response.headers.get("Date", "")
                status = orjson.loads(response.read())
            yield Diagnosis("service", "ok", f"{status['requests']} requests since its start")
            yield from _identity(status)
            yield from _clock(then)
            for model in client.models():
                yield _breaker(model)
    except ServiceError as error:
        remedy = ROLES.get(type(error), "check --url, and that `assay serve` runs there")
        yield Diagnosis("service", "wrong", str(error), remedy)
    except (ValueError, KeyError):
        remedy = "--url must be that of the API, without a path"
        yield Diagnosis("service", "wrong", "what answers there is not Assay", remedy)


def _identity(status: dict[str, Any]) -> Iterator[Diagnosis]:
    version = status.get("version", "unknown")
    if version == __version__:
        yield Diagnosis("version", "ok", f"service and client are {version}")
    else:
        message = f"the service is {version}, and this client {__version__}"
        yield Diagnosis("version", "warning", message, "install the version of the service here")
    if "role" in status:
        message = f"it acts for the tenant {status['tenant']} with the role {status['role']}"
        yield Diagnosis("API key", "ok", message)


def _clock(date: str) -> Iterator[Diagnosis]:
    try:
        then_s = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return
    yield clock("that of the service", time.time() - then_s, CLOCK_S_MAX)


def _breaker(model: dict[str, Any]) -> Diagnosis:
    subject = f"model {model['id']}"
    if model["breaker"] == "closed":
        return Diagnosis(subject, "ok", "is called")
    message = f"its breaker is {model['breaker']}: its provider fails, or refuses the key"
    return Diagnosis(subject, "warning", message, "see the log of the service, or `assay models`")


def _ready(url: str, ready_url: str | None) -> Iterator[Diagnosis]:
    host = urlsplit(url).hostname or ""
    asked = ready_url or f"http://{f'[{host}]' if ':' in host else host}:{OPERATIONS_PORT}/readyz"
    check_url(asked)
    try:
        _, body = ask_health(asked, READY_S_MAX)
    except NO_RESPONSE as error:
        if ready_url is not None:
            remedy = "check --ready-url: the port is server.metrics_port"
            yield Diagnosis("health check", "wrong", f"{asked} does not answer: {error}", remedy)
        return
    try:
        state = orjson.loads(body)["status"]
    except (ValueError, KeyError, TypeError):
        if ready_url is not None:
            message = f"{asked} is not the health check of Assay"
            yield Diagnosis("health check", "wrong", message, "check --ready-url")
        return
    if state == "serving":
        yield Diagnosis("health check", "ok", f"{asked}: {state}")
    else:
        remedy = "see the log of the service; degraded: Redis does not take writes"
        yield Diagnosis("health check", "wrong", f"{asked}: {state}", remedy)

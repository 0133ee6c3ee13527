"""`assay probe`: a health check for containers without curl."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Annotated

import typer

from assay.cli.app import Exit, app, check_url, examples, notice

READY_URL = "http://127.0.0.1:9090/readyz"
TIMEOUT_S = 2.0
BODY_BYTES_MAX = 1_000
NO_RESPONSE = (OSError, http.client.HTTPException, ValueError)


@app.command(epilog=examples("assay probe --url http://127.0.0.1:9090/readyz"))
def probe(
    url: Annotated[str, typer.Option(help="URL to check.")] = READY_URL,
    timeout_s: Annotated[
        float, typer.Option(min=0.1, max=60, help="Timeout in seconds.")
    ] = TIMEOUT_S,
) -> None:
    """Exit with 0 if the service is ready: a health check for containers.

    Exit codes: 0 it answers with 200; 1 it does not; 2 wrong arguments.
    """
    check_url(url)
    try:
        status, _ = ask_health(url, timeout_s)
    except NO_RESPONSE as error:
        notice(f"assay: no response from {url}: {error}")
        raise typer.Exit(Exit.NOT_MET) from None
    if status != http.client.OK:
        notice(f"assay: {url} answered with status {status}")
        raise typer.Exit(Exit.NOT_MET)


def ask_health(url: str, timeout_s: float) -> tuple[int, bytes]:
    """The status and the body of a health check; raises one of `NO_RESPONSE`."""
    # The check stays in its container, so a proxy from the environment does not apply.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            return response.status, response.read(BODY_BYTES_MAX)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(BODY_BYTES_MAX)

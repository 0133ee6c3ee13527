"""`assay probe`: the health check of a container that holds no curl."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Annotated

import typer

from assay.cli.app import Exit, app, notice, refuse

READY_URL = "http://127.0.0.1:9090/readyz"
TIMEOUT_S = 2.0


@app.command()
def probe(
    url: Annotated[str, typer.Option(help="What to ask.")] = READY_URL,
    timeout_s: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds.")] = TIMEOUT_S,
) -> None:
    """Exit with 0 where the service answers 200, else with 1."""
    if not url.startswith(("http://", "https://")):
        refuse("--url must start with http:// or https://")
    # A health check asks its own container: a proxy from the environment is not meant for it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        notice(f"no answer: {error}")
        raise typer.Exit(Exit.NOT_MET) from None
    if status != http.client.OK:
        notice(f"status {status}")
        raise typer.Exit(Exit.NOT_MET)

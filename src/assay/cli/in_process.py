"""Scores without a running service, by starting one inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from assay.bootstrap import open_local, start_logging
from assay.cli.app import notice
from assay.cli.configuration import read_settings
from assay.client import AsyncAssay, RetryPolicy
from assay.settings import Settings


def open_in_process(
    config: Path | None, retry_policy: RetryPolicy, concurrency: int
) -> AbstractAsyncContextManager[AsyncAssay]:
    """A client of a service that `config` or the default file configures; exits if invalid."""
    settings = read_settings(config, log_level="warning")
    if settings.simulated:
        notice("assay: no model is configured and no API key was found, so verdicts are SIMULATED")
    return _opened(settings, retry_policy, concurrency)


@asynccontextmanager
async def _opened(
    settings: Settings, retry_policy: RetryPolicy, concurrency: int
) -> AsyncIterator[AsyncAssay]:
    start_logging(settings)
    async with (
        open_local(settings) as url,
        AsyncAssay(url, "", retry_policy=retry_policy, connections_max=concurrency) as client,
    ):
        yield client

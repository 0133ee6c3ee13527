"""Scores without a running service, by starting one inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from assay.bootstrap import open_local, start_logging
from assay.cli.app import notice
from assay.cli.configuration import read_settings
from assay.cli.scorers import Scorer, open_remote
from assay.client import RetryPolicy
from assay.settings import Settings


def open_in_process(
    config: Path | None, retry_policy: RetryPolicy, concurrency: int
) -> AbstractAsyncContextManager[Scorer]:
    """A scorer configured by `config` or the default file; exits if that is invalid."""
    settings = read_settings(config, log_level="warning")
    if settings.simulated:
        notice("assay: no model is configured and no API key was found, so verdicts are SIMULATED")
    return _opened(settings, retry_policy, concurrency)


@asynccontextmanager
async def _opened(
    settings: Settings, retry_policy: RetryPolicy, concurrency: int
) -> AsyncIterator[Scorer]:
    start_logging(settings)
    async with (
        open_local(settings) as url,
        open_remote(url, None, retry_policy, concurrency) as scorer,
    ):
        yield scorer

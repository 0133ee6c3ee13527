"""Who scores a row: a service by its URL, or the engine in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from assay.bootstrap import open_local, start_logging
from assay.client import ApiKey, Client, Patience
from assay.settings import Settings


class Scorer(Protocol):
    """Scores one row."""

    async def score(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answer a request body of `POST /v1/evaluations`; raises `client.ServiceError`."""
        ...


@asynccontextmanager
async def open_remote(
    url: str, key: ApiKey | None, patience: Patience, concurrency: int
) -> AsyncIterator[Scorer]:
    """Score through the service at `url`."""
    async with Client(url, key, patience=patience, connections_max=concurrency) as client:
        yield _Remote(client)


@asynccontextmanager
async def open_in_process(
    settings: Settings, patience: Patience, concurrency: int
) -> AsyncIterator[Scorer]:
    """Score through a service that lives in this process only, built from `settings`."""
    start_logging(settings)
    async with open_local(settings) as url, open_remote(url, None, patience, concurrency) as scorer:
        yield scorer


class _Remote:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def score(self, row: dict[str, Any]) -> dict[str, Any]:
        return await self._client.post("/v1/evaluations", row)

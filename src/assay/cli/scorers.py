"""The seam between a run and what scores its rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from assay.client import ApiKey, Client, RetryPolicy


class Scorer(Protocol):
    """Scores one row."""

    async def score(self, row: dict[str, Any]) -> dict[str, Any]:
        """The response to a body of `POST /v1/evaluations`; raises `client.ServiceError`."""
        ...


@asynccontextmanager
async def open_remote(
    url: str, key: ApiKey | None, retry_policy: RetryPolicy, concurrency: int
) -> AsyncIterator[Scorer]:
    """Score through the service at `url`."""
    async with Client(url, key, retry_policy=retry_policy, connections_max=concurrency) as client:
        yield _Remote(client)


class _Remote:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def score(self, row: dict[str, Any]) -> dict[str, Any]:
        return await self._client.post("/v1/evaluations", row)

"""The contract suite runs on each provider's adapter, streamed and not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.providers.server import PATHS, FaultServer
from fakes.providers.subject import Subject


@pytest.fixture(params=PATHS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["stream", "whole"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def subject(dialect: str, stream: bool) -> AsyncIterator[Subject]:
    async with FaultServer() as server:
        subject = Subject(dialect, stream, server, [])
        yield subject
        for client in subject.clients:
            await client.aclose()

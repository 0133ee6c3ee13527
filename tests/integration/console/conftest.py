"""The console of a service with two tenants, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from assay.records.migrate import migrate
from fakes.records_api import RecordsApi, running_records_api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RecordsApi]:
    """The service over an empty database; all tests of a module share it."""
    folder = tmp_path_factory.mktemp("console")
    url = f"sqlite+aiosqlite:///{folder / 'records.db'}"
    await asyncio.to_thread(migrate, url)
    async with running_records_api(folder, url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def browser(api: RecordsApi) -> AsyncIterator[aiohttp.ClientSession]:
    """Keeps cookies and follows no redirect; nobody is signed in."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(api.url, cookie_jar=jar) as session:
        yield session

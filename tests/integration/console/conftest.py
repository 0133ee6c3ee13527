"""The console of a service with two tenants, over real HTTP."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from assay.records.migrate import migrate
from fakes.records_api import RecordsApi, running_records_api

HTMX = {"HX-Request": "true"}
TAG = re.compile(r"<[^>]*>")


@dataclass
class Page:
    """An answer of the console."""

    status: int
    text: str
    headers: Any

    @property
    def words(self) -> str:
        """What a person reads: without tags, and with single spaces."""
        return " ".join(html.unescape(TAG.sub(" ", self.text)).split())


@dataclass
class ConsoleApi:
    """The console as the tenant `one`; `api` is the API beside it."""

    api: RecordsApi
    session: aiohttp.ClientSession
    token: str = ""

    async def sign_in(self) -> None:
        page = await self.post("sign-in", key="key-of-one")
        self.token = re.findall('data-csrf="([^"]+)"', page.text)[0]

    async def get(self, path: str, **query: str) -> Page:
        """A page."""
        return await self._call("GET", path, params=query)

    async def part(self, path: str, **query: str) -> Page:
        """What a script gets in place of the page."""
        return await self._call("GET", path, params=query, headers=HTMX)

    async def post(self, path: str, **fields: str) -> Page:
        """Send a form."""
        return await self._call("POST", path, data={"csrf_token": self.token, **fields})

    async def press(self, path: str, **fields: str) -> Page:
        """Send a form by the script, which is told where to go on."""
        headers = {**HTMX, "X-CSRF-Token": self.token}
        return await self._call("POST", path, data=fields, headers=headers)

    async def _call(self, method: str, path: str, **options: Any) -> Page:
        async with self.session.request(method, URL(f"/console/{path}"), **options) as response:
            return Page(response.status, await response.text(), response.headers)


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


@pytest_asyncio.fixture(loop_scope="module")
async def console(api: RecordsApi, browser: aiohttp.ClientSession) -> ConsoleApi:
    """The console of somebody who has signed in."""
    opened = ConsoleApi(api, browser)
    await opened.sign_in()
    return opened

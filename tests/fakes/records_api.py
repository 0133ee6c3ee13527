"""The whole service in this process over real HTTP, with records in a database of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from assay.bootstrap import open_service
from assay.bootstrap.service import Service
from assay.settings import load
from fakes.batches import NDJSON, ended, keys_file
from fakes.http_api import on_free_port

BODY_BYTES_MAX = 1_000_000
TENANTS = ("one", "two")
JUDGE = """
[providers.simulated]
dialect = "simulated"
[models."simulated/judge"]
provider = "simulated"
name = "judge"
[models."simulated/other"]
provider = "simulated"
name = "other"
[judges.default]
models = ["simulated/judge"]
[judges.both]
models = ["simulated/judge", "simulated/other"]
"""


@dataclass
class RecordsApi:
    """The service with two tenants, `one` and `two`; without a name the first one calls."""

    service: Service
    sessions: dict[str, aiohttp.ClientSession]
    url: str
    records_url: str
    _names: Any = field(default_factory=itertools.count)

    def name(self, kind: str = "r") -> str:
        """A name that no other test uses."""
        return f"{kind}-{next(self._names)}"

    async def call(
        self, method: str, path: str, document: Any = None, *, tenant: str = "one", **options: Any
    ) -> tuple[int, Any]:
        """The status and the parsed body."""
        if document is not None:
            options["json"] = document
        async with self.sessions[tenant].request(method, path, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def ok(self, method: str, path: str, document: Any = None, **options: Any) -> Any:
        """The body of a response that is no error."""
        status, body = await self.call(method, path, document, **options)
        assert status < 400, body
        return body

    async def evaluator(self, criteria: Any, **fields: Any) -> str:
        """The name of a new evaluator."""
        name = self.name("evaluator")
        await self.ok("POST", "/v1/evaluators", {"name": name, "criteria": criteria, **fields})
        return name

    async def dataset(self, *rows: dict[str, Any], **fields: Any) -> str:
        """The name of a new dataset with the rows as its version 1."""
        name = self.name("dataset")
        await self.ok("POST", "/v1/datasets", {"name": name, **fields})
        if rows:
            status, body = await self.upload(name, ndjson(*rows))
            assert status == 200, body
        return name

    async def upload(
        self,
        name: str,
        content: Any,
        kind: str = NDJSON["Content-Type"],
        method: str = "PUT",
        **options: Any,
    ) -> tuple[int, Any]:
        path, headers = f"/v1/datasets/{name}/items", {"Content-Type": kind}
        content = io.BytesIO(content) if isinstance(content, bytes) else content
        return await self.call(method, path, data=content, headers=headers, **options)

    async def items(self, name: str, query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await pages(self, f"/v1/datasets/{name}/items?{query}")
        return found

    async def batch(self, **fields: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A batch that has ended, and its results."""
        made = await self.ok("POST", "/v1/batches", fields)
        results = await self.results(made)
        return await self.ok("GET", f"/v1/batches/{made['id']}"), results

    async def results(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of a batch once it has ended."""
        await ended(self.sessions["one"], batch)
        return await pages(self, f"/v1/batches/{batch['id']}/results?")


def ndjson(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def pages(api: RecordsApi, path: str, **options: Any) -> list[Any]:
    """All entries of a list."""
    found: list[Any] = []
    cursor = ""
    while True:
        page = await api.ok("GET", path + cursor, **options)
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@contextlib.asynccontextmanager
async def running_records_api(
    folder: Path, records_url: str, config: str = "", *, work: bool = True
) -> AsyncIterator[RecordsApi]:
    """The service with its private Redis and a worker; see `RecordsApi`."""
    (folder / "assay.toml").write_text(
        keys_file(folder)
        + f'[server]\ndata_dir = "{folder / "data"}"\nmax_body_bytes = {BODY_BYTES_MAX}\n'
        + f'[records]\nurl = "{records_url}"\nupload_mb_max = 4\n'
        + JUDGE
        + config
    )
    settings = await asyncio.to_thread(load, folder / "assay.toml", {})
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(open_service(settings, work=work))
        service.services.lifecycle.phase = "serving"
        _, url = await stack.enter_async_context(on_free_port(service.app))
        sessions = {}
        for tenant in TENANTS:
            headers = {"Authorization": f"Bearer key-of-{tenant}"}
            session = aiohttp.ClientSession(url, headers=headers)
            sessions[tenant] = await stack.enter_async_context(session)
        yield RecordsApi(service, sessions, url, records_url)


async def until(condition: Callable[[], Any]) -> None:
    """Return when the awaited condition holds."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  # it asks another process
            await asyncio.sleep(0.05)

"""A grader of the operator's: it answers as the path of the URL says, and keeps what it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
GOOD = {"score": 0.75, "passed": True, "label": "fine", "explanation": "It is said."}
ANSWERS: dict[str, Any] = {
    "good": GOOD,
    "only-score": {"score": 0.25, "more": [1]},
    "above": {"score": 1.5},
    "text": {"score": "0.5"},
    "truth": {"score": True},
    "none": {"passed": True},
    "label": {"score": 1, "label": 5},
    "list": [0.5],
}
BODIES = {
    "nan": b'{"score": NaN}',
    "infinite": b'{"score": 1e999}',
    "broken": b'{"score": 0.5',
    "empty": b"",
    "huge": b'{"score": 0.5, "explanation": "' + b"x" * 1_000_000 + b'"}',
    "bytes": b'{"score": 0.5, "label": "\xff"}',
}


@dataclass
class Grader:
    """A running grader."""

    port: int = 0
    sent: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    open: int = 0
    closed_early: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def verified(self, number: int = -1) -> Any:
        """The body of a request, if its signature is right."""
        _, headers, body = self.sent[number]
        return Webhook(SECRET).verify(body, headers)

    async def answer(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911  # a table
        name = request.match_info["name"]
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.sent.append((request.path_qs, headers, await request.read()))
        self.asked[name] += 1
        if name.startswith("once-") and self.asked[name] > 1:
            return web.json_response(GOOD)
        match name.removeprefix("once-"):
            case "redirect":
                return web.Response(status=302, headers={"Location": self.url("good")})
            case "429" | "503" as status:
                return web.Response(status=int(status), headers={"Retry-After": "1"})
            case "400" | "401" | "404" | "500" as status:
                return web.json_response({"error": "I am unwell"}, status=int(status))
            case "html":
                return web.Response(text="<p>0.5", content_type="text/html")
            case "events":
                return web.Response(text='data: {"score": 1}\n\n', content_type="text/event-stream")
            case "never":
                return await self._hang()
            case "cut":
                return await self._cut(request)
            case known if known in BODIES:
                return web.Response(body=BODIES[known], content_type="application/json")
            case known:
                return web.json_response(ANSWERS[known])

    async def _hang(self) -> web.StreamResponse:
        self.open += 1
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            self.closed_early += 1
            raise
        finally:
            self.open -= 1
        return web.json_response(GOOD)

    @staticmethod
    async def _cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = 100
        await response.prepare(request)
        await response.write(json.dumps(GOOD).encode()[:10])
        assert request.transport is not None
        request.transport.abort()
        return response


@contextlib.asynccontextmanager
async def running_grader() -> AsyncIterator[Grader]:
    grader = Grader()
    app = web.Application(client_max_size=16_000_000)
    app.router.add_post("/{name}", grader.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    grader.port = runner.addresses[0][1]
    try:
        yield grader
    finally:
        await runner.cleanup()

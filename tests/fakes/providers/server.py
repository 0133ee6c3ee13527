"""A server that speaks the three providers' protocols on one port, and misbehaves on demand.

In a test:       async with FaultServer() as server: ... await server.play("silent")
As a process:    python tests/fakes/providers/server.py --port 9101 --control-port 9102
                 curl -d '{"fault": "429", "every": 3}' http://127.0.0.1:9102/_fault
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

if __name__ == "__main__":
    # As a script, the folders of tests and of the package are not on the path.
    _ROOT = Path(__file__).resolve().parents[3]
    sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "src")]

from assay.providers.instances import instance
from fakes.providers.dialects import DIALECTS, PIECE_CHARS, Answer, Dialect
from fakes.providers.faults import FAULTS, HEALTHY, Fault

BODY_BYTES_MAX = 64 * 1024 * 1024
HUGE_CHARS = 10 * 1024 * 1024
HUGE_PIECE_CHARS = 64 * 1024
TEXT = 'Naïve “judge” \\ says:\n🦊 日本 "fine"'
_PATHS = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic/v1",
    "gemini": "/gemini/v1beta",
}


@dataclass
class Received:
    """A request as it came; `gone` is set when its client left before the answer's end."""

    dialect: str
    path: str
    headers: dict[str, str]
    raw: bytes
    at_s: float
    peer: object = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def body(self) -> dict[str, Any]:
        parsed = json.loads(self.raw)
        assert isinstance(parsed, dict)
        return parsed


class FaultServer:
    """The server; `answer` scripts what it says (None: a verdict that fits the schema asked for).

    `silence_s` and `drip_s` set how long it keeps quiet; `usage` false leaves usage out.
    `problem` names another error for a fault's status, `error_body` replaces its body.
    """

    def __init__(self, port: int = 0, control_port: int = 0, requests_kept: int = 100) -> None:
        self.port = port
        self.control_port = control_port
        self.answer: str | Callable[[dict[str, Any]], str] | None = None
        self.silence_s = 30.0
        self.drip_s = 0.1
        self.latency_s = 0.0
        self.usage = True
        self.requests: deque[Received] = deque(maxlen=requests_kept)
        self.count = 0
        self.arrived = asyncio.Event()
        self.problem: str | None = None
        self.error_body: dict[str, Any] | None = None
        self.fault = HEALTHY
        self._every, self._share, self._chance = 1, 1.0, random.Random(0)
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/_fault", self._control)
        app.router.add_post("/{dialect:openai|anthropic|gemini}/{rest:.*}", self._handle)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        self._site: web.SockSite | None = None

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        control = _listening(self.control_port)
        self.control_port = control.getsockname()[1]
        await web.SockSite(self._runner, control).start()
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def base_url(self, dialect: str) -> str:
        """Where a provider's adapter is to be pointed at."""
        scheme = "https" if self.fault.behaviour == "tls" else "http"
        return f"{scheme}://127.0.0.1:{self.port}{_PATHS[dialect]}"

    async def play(
        self, fault: str | Fault, *, every: int = 1, share: float = 1.0, seed: int = 0
    ) -> None:
        """Misbehave from now on: on each `every`th request, or at random on a `share` of them."""
        self.fault = FAULTS[fault] if isinstance(fault, str) else fault
        self._every, self._share, self._chance = every, share, random.Random(seed)
        if self.fault.behaviour == "refused":
            await self._refuse()
        elif self._site is None:
            await self._listen()

    async def _listen(self) -> None:
        sock = _listening(self.port)
        self.port = sock.getsockname()[1]
        self._site = web.SockSite(self._runner, sock)
        await self._site.start()

    async def _refuse(self) -> None:
        site, self._site = self._site, None
        if site is not None:
            await site.stop()
        server = self._runner.server
        for handler in list(server.connections) if server is not None else []:
            transport = handler.transport
            if transport is not None and transport.get_extra_info("sockname")[1] == self.port:
                transport.abort()

    async def _control(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        if "silence_s" in wanted:
            self.silence_s = float(wanted.pop("silence_s"))
        if "latency_s" in wanted:
            self.latency_s = float(wanted.pop("latency_s"))
        await self.play(wanted.pop("fault", "none"), **wanted)
        return web.json_response({"count": self.count})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        dialect = DIALECTS[request.match_info["dialect"]]
        raw = await request.read()
        received = Received(
            dialect.name,
            request.path_qs,
            dict(request.headers),
            raw,
            time.monotonic(),
            request.transport.get_extra_info("peername") if request.transport else None,
        )
        self.requests.append(received)
        self.count += 1
        self.arrived.set()
        try:
            return await _Play(self, request, dialect, received, self._fault_now()).answer()
        except (asyncio.CancelledError, ConnectionError):
            received.gone.set()
            raise

    def _fault_now(self) -> Fault:
        due = self.count % self._every == 0 and self._chance.random() < self._share
        return self.fault if due else HEALTHY


class _Play:
    """One request's answer under one fault."""

    def __init__(
        self,
        server: FaultServer,
        request: web.Request,
        dialect: Dialect,
        received: Received,
        fault: Fault,
    ) -> None:
        self._server = server
        self._request = request
        self._dialect = dialect
        self._fault = fault
        self._body = received.body
        self._stream = bool(self._body.get("stream")) or "alt=sse" in received.path

    async def answer(self) -> web.StreamResponse:
        await asyncio.sleep(self._server.latency_s)
        fault = self._fault
        if fault.behaviour == "error" or self._is_filtered_beforehand():
            return self._error()
        if fault.behaviour == "reset":
            _reset(self._request)
            return web.Response()
        if fault.behaviour == "silent":
            await asyncio.sleep(self._server.silence_s)
        return await (self._answer_streamed() if self._stream else self._answer_whole())

    def _is_filtered_beforehand(self) -> bool:
        return self._fault.ending == "prompt_blocked" and self._dialect.name == "openai"

    def _error(self) -> web.Response:
        problem = self._server.problem or self._fault.problem or self._fault.ending
        status = self._fault.status if self._fault.behaviour == "error" else 400
        body = self._server.error_body or self._dialect.error(problem, status)
        return web.json_response(body, status=status, headers=dict(self._fault.headers))

    def _answer(self) -> Answer:
        schema = self._dialect.schema(self._body)
        text = self._text(schema)
        ending = self._fault.ending
        if ending == "length":
            text = text[: len(text) // 2]
        if self._dialect.name == "anthropic" and ending in ("content_filter", "prompt_blocked"):
            ending = "refusal"  # Anthropic has no other word for it
        config = self._body.get("generationConfig", {})
        logprobs = bool(self._body.get("logprobs") or config.get("responseLogprobs"))
        piece_chars = HUGE_PIECE_CHARS if self._fault.behaviour == "huge" else PIECE_CHARS
        return Answer(text, ending, schema is not None, logprobs, self._server.usage, piece_chars)

    def _text(self, schema: Any) -> str:
        if self._fault.behaviour == "huge":
            return json.dumps({"text": "x" * HUGE_CHARS})
        if callable(self._server.answer):
            return self._server.answer(self._body)
        if self._server.answer is not None:
            return self._server.answer
        if schema is None:
            return TEXT
        value = instance(schema, random.Random(self._server.count), TEXT)
        return json.dumps(value, ensure_ascii=False)

    async def _answer_whole(self) -> web.StreamResponse:
        data = json.dumps(self._dialect.whole(self._answer()), ensure_ascii=False).encode()
        if self._fault.behaviour == "malformed":
            data = data[:-2] + b"  "
        response = web.StreamResponse(headers={"Content-Type": self._content_type("json")})
        response.content_length = len(data)
        await response.prepare(self._request)
        await self._write(response, _halves(data), data)
        return response

    async def _answer_streamed(self) -> web.StreamResponse:
        frames = [self._dialect.frame(event) for event in self._dialect.events(self._answer())]
        frames.insert(1, b": keep-alive\n\n")
        if self._fault.behaviour == "huge":
            frames = [b"".join(frames)]
        response = web.StreamResponse(headers={"Content-Type": self._content_type("sse")})
        await response.prepare(self._request)
        await self._write(response, frames, b"".join(frames))
        return response

    def _content_type(self, kind: str) -> str:
        if self._fault.behaviour == "content_type":
            return "text/html; charset=utf-8"
        return "application/json" if kind == "json" else "text/event-stream; charset=utf-8"

    async def _write(self, response: web.StreamResponse, groups: list[bytes], data: bytes) -> None:
        half = max(1, len(groups) // 2)
        match self._fault.behaviour:
            case "malformed" if not self._stream:
                await response.write(data)
            case "silent_mid" | "reset_mid" | "truncated" | "error_mid" | "malformed":
                await response.write(b"".join(groups[:half]))
                await asyncio.sleep(0.02)
                await self._break(response)
            case "drip" | "split":
                await self._write_slowly(response, data)
            case _:
                await response.write(data)

    async def _break(self, response: web.StreamResponse) -> None:
        match self._fault.behaviour:
            case "silent_mid":
                await asyncio.sleep(self._server.silence_s)
            case "error_mid" if self._stream:
                body = self._dialect.error(self._fault.problem, self._fault.status)
                await response.write(self._dialect.frame(body))
            case "malformed":
                await response.write(b'data: {"choices": [{"delta": \n\n')
            case "truncated" if self._stream:
                await response.write_eof()
            case _:
                _reset(self._request)

    async def _write_slowly(self, response: web.StreamResponse, data: bytes) -> None:
        drips = self._fault.behaviour == "drip"
        size = max(1, len(data) // 6) if drips else 7
        async for group in _paced(data, size, self._server.drip_s if drips else 0.0):
            await response.write(group)


async def _paced(data: bytes, size: int, pause_s: float) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(pause_s)


def _halves(data: bytes) -> list[bytes]:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


def _listening(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def _reset(request: web.Request) -> None:
    """Close with a reset instead of an orderly end."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _main(options: argparse.Namespace) -> None:
    server = FaultServer(options.port, options.control_port, requests_kept=0)
    server.latency_s = options.latency_s
    async with server:
        await server.play(options.fault)
        print(json.dumps({"port": server.port, "control_port": server.control_port}), flush=True)  # noqa: T201  # whoever started it reads this
        await asyncio.Event().wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--fault", choices=sorted(FAULTS), default="none")
    parser.add_argument("--latency-s", type=float, default=0.0)
    return parser.parse_args()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(_options()))

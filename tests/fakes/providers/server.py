"""A server that speaks the providers' protocols on one port, and misbehaves on demand.

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
import ssl
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

if __name__ == "__main__":
    # As a script, the folders of tests and of the package are not on the path.
    _ROOT = Path(__file__).resolve().parents[3]
    sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "src")]

from fakes.providers.clouds import CLOUDS
from fakes.providers.dialects import DIALECTS, SystemOneDialect
from fakes.providers.faults import FAULTS, HEALTHY, Fault
from fakes.providers.play import Play, Script

PROTOCOLS = {**DIALECTS, **CLOUDS, "systemone": SystemOneDialect()}
BODY_BYTES_MAX = 64 * 1024 * 1024
PATHS = {
    "openai": "/openai/v1",
    "openai_responses": "/openai_responses/v1",
    "anthropic": "/anthropic/v1",
    "gemini": "/gemini/v1beta",
    "azure": "/azure",
    "bedrock": "/bedrock",
    "vertex": "/vertex/v1",
    "vertex_claude": "/vertex_claude/v1",
}
"""Of models that write."""
DECIDING = {"systemone": "/systemone/v1"}


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


class FaultServer(Script):
    """The server; what it says is its script."""

    def __init__(self, port: int = 0, control_port: int = 0, requests_kept: int = 100) -> None:
        super().__init__()
        self.port = port
        self.control_port = control_port
        self.requests: deque[Received] = deque(maxlen=requests_kept)
        self.arrived = asyncio.Event()
        self.fault = HEALTHY
        self.tls: ssl.SSLContext | None = None
        """Set before it starts, to serve TLS."""
        self._every, self._share, self._chance = 1, 1.0, random.Random(0)
        self._among: list[Fault] = []
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/_fault", self._control)
        app.router.add_post(f"/{{dialect:{'|'.join(PATHS | DECIDING)}}}/{{rest:.*}}", self._handle)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        self._site: web.SockSite | None = None
        self._kept: socket.socket | None = None
        """Holds the port while it refuses: another server would get it and answer."""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        control = _bound(self.control_port)
        self.control_port = control.getsockname()[1]
        await web.SockSite(self._runner, control).start()
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        if self._kept is not None:
            self._kept.close()

    def base_url(self, dialect: str) -> str:
        """The `base_url` of a provider's settings."""
        scheme = "https" if self.tls or self.fault.behaviour == "tls" else "http"
        return f"{scheme}://127.0.0.1:{self.port}{(PATHS | DECIDING)[dialect]}"

    async def play(
        self,
        fault: str | Fault,
        *,
        every: int = 1,
        share: float = 1.0,
        seed: int = 0,
        among: Sequence[str] = (),
    ) -> None:
        """Misbehave from now on: on each `every`th request, or at random on a `share` of them.

        Each such request gets another fault, drawn from `among`, where there are any.
        """
        self._among = [FAULTS[name] for name in among]
        self.fault = FAULTS[fault] if isinstance(fault, str) else fault
        self._every, self._share, self._chance = every, share, random.Random(seed)
        if self.fault.behaviour == "refused":
            await self._refuse()
        elif self._site is None:
            await self._listen()

    async def _listen(self) -> None:
        sock, self._kept = self._kept or _bound(self.port), None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = sock.getsockname()[1]
        self._site = web.SockSite(self._runner, sock, ssl_context=self.tls)
        await self._site.start()

    async def _refuse(self) -> None:
        site, self._site = self._site, None
        if site is not None:
            await site.stop()
            self._kept = _bound(self.port)
            # With it, others may bind the port as long as nobody listens.
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
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
        dialect = PROTOCOLS[request.match_info["dialect"]]
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
            fault = self._fault_now()
            return await Play(self, request, dialect, raw, fault).answer()
        except (asyncio.CancelledError, ConnectionError):
            received.gone.set()
            raise

    def _fault_now(self) -> Fault:
        due = self.count % self._every == 0 and self._chance.random() < self._share
        if due and self._among:
            return self._chance.choice(self._among)
        return self.fault if due else HEALTHY


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


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

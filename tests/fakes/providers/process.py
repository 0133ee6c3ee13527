"""The fault server as a process of its own, so that it takes no time from the test's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from fakes.providers.server import PATHS

SCRIPT = Path(__file__).with_name("server.py")


@dataclass(frozen=True)
class FaultProcess:
    """Where it listens."""

    port: int
    control_port: int

    def base_url(self, dialect: str) -> str:
        return f"http://127.0.0.1:{self.port}{PATHS[dialect]}"

    async def play(self, fault: str = "none", **options: Any) -> int:
        """Misbehave from now on, as `FaultServer.play`; answers how many requests there were."""
        url = f"http://127.0.0.1:{self.control_port}/_fault"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"fault": fault, **options}) as answer,
        ):
            return int((await answer.json())["count"])


@contextlib.asynccontextmanager
async def running_faults(latency_s: float = 0.0) -> AsyncIterator[FaultProcess]:
    """A provider that is healthy until `play` is called."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), "--latency-s", str(latency_s), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield FaultProcess(**json.loads(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.wait()

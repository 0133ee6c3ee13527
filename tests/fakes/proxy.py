"""A real HAProxy in front of several services, as a gateway stands before pods."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp

from fakes.ports import free_port

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
START_TIMEOUT_S = 10

# A check may take as long as a busy machine needs: "busy" is not "gone". No retries: what the proxy
# would send again would hide that a service lost it. Connections are kept and shared between
# callers, which is where a careless exit loses requests.
CONFIG = """
global
    maxconn 512
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout check 2s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 30s
frontend callers
    bind 127.0.0.1:{port}
    default_backend services
backend services
    balance roundrobin
    http-reuse always
    option httpchk GET /readyz
    default-server check inter 200ms fall 2 rise 1
{servers}
"""


@contextlib.asynccontextmanager
async def running_proxy(folder: Path, services: Sequence[tuple[int, int]]) -> AsyncIterator[str]:
    """HAProxy over services given by API port and metrics port; gives its address.

    A service gets traffic while `/readyz` on its metrics port says 200.
    """
    assert HAPROXY is not None
    port = free_port()
    servers = "\n".join(
        f"    server pod-{number} 127.0.0.1:{api} port {metrics}"
        for number, (api, metrics) in enumerate(services)
    )
    config = folder / "haproxy.cfg"
    config.write_text(CONFIG.format(port=port, servers=servers))
    log = folder / "haproxy.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            HAPROXY, "-db", "-f", config, stdout=stream, stderr=stream
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _answers(f"{url}/v1/models", process, log)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answers(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(START_TIMEOUT_S):
        while True:
            if process.returncode is not None:
                said = await asyncio.to_thread(log.read_text)
                raise RuntimeError(f"haproxy did not start:\n{said}")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)

"""Assay itself as a real process, started the way a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


@dataclass
class ServiceProcess:
    """A running service: its addresses, its process and what it wrote."""

    url: str
    metrics_url: str
    process: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.stopped()

    async def stopped(self) -> int:
        """The exit status, once it has ended."""
        return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)

    async def kill(self) -> None:
        """SIGKILL, without a chance to clean up."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without keys or settings that would change what the service finds."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ASSAY_") and not name.endswith(("_API_KEY", "_BASE_URL"))
    }
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **(extra or {})}


@contextlib.asynccontextmanager
async def running_service(
    folder: Path,
    config: str = "",
    environ: Mapping[str, str] | None = None,
    data_dir: str = "data",
    python: Path | None = None,
    ports: tuple[int, int] | None = None,
    options: Sequence[str] = (),
) -> AsyncIterator[ServiceProcess]:
    """Start `assay serve` in `folder`; wait until it is ready; stop it at the end.

    `ports` are those of the API and of the metrics; without them, two free ones are taken.
    `python` is that of an environment with Assay installed; without it, this checkout runs.
    """
    port, metrics_port = ports or (free_port(), free_port())
    arguments = ["--port", str(port), "--metrics-port", str(metrics_port), *options]
    arguments += ["--data-dir", str(folder / data_dir)]
    if config:
        (folder / "assay.toml").write_text(config)
    environment = clean_environment(environ)
    if python is not None:
        del environment["PYTHONPATH"]
    log = folder / f"service-{port}.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            python or sys.executable, "-m", "assay", "serve", *arguments,
            cwd=folder, env=environment, stdout=stream, stderr=stream,
        )  # fmt: skip
    service = ServiceProcess(
        f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}", process, log
    )
    try:
        await _ready(service)
        yield service
    finally:
        if process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await service.stop()
        await service.kill()


async def _ready(service: ServiceProcess) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(START_TIMEOUT_S):
        while True:
            if service.process.returncode is not None:
                raise RuntimeError(f"the service did not start:\n{service.log.read_text()}")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{service.metrics_url}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)

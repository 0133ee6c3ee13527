"""A service and workers as processes, over real Redis and a server of providers' batch APIs."""

import asyncio
import contextlib
import json
import sys
import time

import aiohttp

from fakes.chaos import Caller, kill
from fakes.ports import free_port
from fakes.providers.jobs import JobServer
from fakes.redis_process import RedisProcess
from fakes.service_process import clean_environment

CONFIG = """
[server]
drain_delay_s = 0

[redis]
url = "{redis}"

[batches]
worker_rows = 16
lease_s = 2
jobs_poll_s = 0.2
jobs_gather_s = {gather_s}
jobs_lost_after_s = {lost_after_s}

[providers.fake]
dialect = "{dialect}"
base_url = "{provider}"
batch_api = true
stream = false

[models."fake/judge"]
provider = "fake"
name = "judge"
input_usd_per_mtok = 10
output_usd_per_mtok = 100
"""


class JobFleet:
    """The processes; workers are started and killed by the test."""

    def __init__(self, folder, provider, redis, dialect, *, gather_s=30.0, lost_after_s=1.0):
        self.folder = folder
        self.provider = provider
        self.redis = redis
        self.config = folder / "assay.toml"
        self.config.write_text(
            CONFIG.format(
                redis=redis.url,
                dialect="openai_chat" if dialect == "openai" else dialect,
                provider=provider.base_url(dialect),
                gather_s=gather_s,
                lost_after_s=lost_after_s,
            )
        )
        self.port = free_port()
        self.log = (folder / "log").open("wb")
        self.processes = []

    async def start(self, *words):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "assay", *words, "--config", str(self.config),
            "--metrics-port", "0", cwd=self.folder, env=clean_environment(),
            stdout=self.log, stderr=self.log,
        )  # fmt: skip
        self.processes.append(process)
        return process

    async def worker(self):
        return await self.start("worker")

    async def create(self, rows, **fields):
        """A batch of so many rows; its path."""
        wanted = {
            "criteria": ["It is polite."],
            "judge": {"service": "batch"},
            "items": [
                {"id": f"row-{n}", "input": f"question {n}", "output": f"answer {n}"}
                for n in range(rows)
            ],
            **fields,
        }
        made = await self.caller.json("POST", "/v1/batches", json=wanted)
        return f"/v1/batches/{made['id']}"

    async def until(self, path, reached, give_up_s=60.0):
        """The batch, once it is as far as that."""
        until_s = time.monotonic() + give_up_s
        while True:
            batch = await self.caller.json("GET", path)
            if reached(batch):
                return batch
            assert time.monotonic() < until_s, (batch, (self.folder / "log").read_text()[-4_000:])
            await asyncio.sleep(0.05)

    async def ended(self, path, give_up_s=60.0):
        return await self.until(
            path, lambda batch: batch["status"] not in ("open", "running"), give_up_s
        )

    async def results(self, path):
        accept = {"Accept": "application/x-ndjson"}
        lines = await self.caller.call("GET", f"{path}/results", headers=accept)
        return [json.loads(line) for line in lines.splitlines()]

    async def held(self, step):
        """Wait until the provider was asked for what it holds back."""
        async with asyncio.timeout(30):
            await self.provider.held.wait()
        assert self.provider.hold == step

    def release(self):
        self.provider.release()

    async def close(self):
        for process in self.processes:
            await kill(process)
        self.log.close()


@contextlib.asynccontextmanager
async def job_fleet(folder, dialect="openai", **options):
    """The service without a worker."""
    (folder / "redis").mkdir()
    redis = RedisProcess(folder / "redis")
    try:
        async with JobServer() as provider, aiohttp.ClientSession() as session:
            fleet = JobFleet(folder, provider, redis, dialect, **options)
            fleet.caller = Caller(session, f"http://127.0.0.1:{fleet.port}")
            try:
                await fleet.start("serve", "--port", str(fleet.port))
                yield fleet
            finally:
                await fleet.close()
    finally:
        redis.stop()

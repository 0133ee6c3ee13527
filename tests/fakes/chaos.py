"""A batch under fire: workers, the API, Redis and PostgreSQL are killed while it runs.

Everything is real: Redis with its append-only file, processes started as users start them, and a
provider that answers over HTTP and counts its calls.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from fakes.ports import free_port
from fakes.providers.server import FaultServer
from fakes.redis_process import RedisProcess
from fakes.service_process import clean_environment

CONFIG = """
[server]
drain_delay_s = 0

[redis]
url = "{redis}"

[records]
url = "{records}"

[batches]
worker_rows = {slots}
lease_s = {lease_s}

[providers.fake]
dialect = "openai"
base_url = "{provider}"

[models."fake/judge"]
provider = "fake"
name = "judge"
"""


@dataclass(frozen=True)
class Plan:
    """Which processes are killed, and when; times in seconds after the start of the batch."""

    rows: int = 2_000
    row_chars: int = 200
    workers: int = 2
    slots: int = 16
    fsync: str = "everysec"
    latency_s: float = 0.15
    lease_s: float = 4.0
    kill_worker_every_s: float = 3.0
    kill_api_at_s: Sequence[float] = (2.0, 6.0)
    kill_redis_at_s: Sequence[float] = (4.0, 8.0)
    kill_postgres_at_s: Sequence[float] = ()
    over_dataset: bool = False
    give_up_s: float = 300.0


@dataclass
class Outcome:
    """The result of a run."""

    batch: dict
    results: list = field(default_factory=list)
    calls: int = 0
    worker_kills: int = 0
    api_kills: int = 0
    redis_kills: int = 0
    postgres_kills: int = 0
    seconds: float = 0.0

    def faults(self, plan: Plan) -> list[str]:
        """Every broken promise."""
        counts = self.batch["counts"]
        indexes = [result["item_index"] for result in self.results]
        ids = {result["item_id"] for result in self.results}
        in_flight = plan.slots * (self.worker_kills + plan.workers * self.redis_kills)
        calls_max = plan.rows * 1.02 + in_flight
        checks = {
            f"status {self.batch['status']}": self.batch["status"] == "completed",
            f"counts {counts}": counts["scored"] == counts["total"] == plan.rows,
            f"{len(indexes)} results": indexes == list(range(plan.rows)),
            f"{len(ids)} ids": ids == {f"row-{n}" for n in range(plan.rows)},
            f"{self.calls} calls, {calls_max:.0f} allowed": plan.rows <= self.calls <= calls_max,
        }
        return [said for said, kept in checks.items() if not kept]


class Fleet:
    """The processes, which come back after each kill."""

    def __init__(self, folder, plan, redis, provider, postgres=None):
        self.plan = plan
        self.redis = redis
        self.postgres = postgres
        records = postgres.new_migrated_database() if postgres else ""
        self.port = free_port()
        self.folder = folder
        self.config = folder / "assay.toml"
        self.config.write_text(
            CONFIG.format(
                redis=redis.url,
                provider=provider,
                slots=plan.slots,
                lease_s=plan.lease_s,
                records=records,
            )
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = (folder / "log").open("wb")
        self.api = None
        self.workers = []

    async def start(self):
        await self.start_api()
        self.workers = [await self._run("worker") for _ in range(self.plan.workers)]

    async def start_api(self):
        self.api = await self._run("serve", "--port", str(self.port))

    async def replace_worker(self, place):
        await kill(self.workers[place])
        self.workers[place] = await self._run("worker")

    async def replace_api(self):
        await kill(self.api)
        await self.start_api()

    async def replace_redis(self):
        await asyncio.to_thread(self.redis.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(self.redis.start)

    async def replace_postgres(self):
        await asyncio.to_thread(self.postgres.stop)  # at once, as by a crash
        await asyncio.sleep(0.5)
        await asyncio.to_thread(self.postgres.start)

    async def close(self):
        for process in [self.api, *self.workers]:
            await kill(process)
        self.log.close()

    async def _run(self, *words):
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "assay", *words, "--config", str(self.config),
            "--metrics-port", "0", cwd=self.folder, env=clean_environment(),
            stdout=self.log, stderr=self.log,
        )  # fmt: skip


async def kill(process):
    """SIGKILL, and wait for the end."""
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def rows(plan):
    """The rows as they are uploaded."""
    for number in range(plan.rows):
        row = {"id": f"row-{number}", "input": f"question {number}", "output": "x" * plan.row_chars}
        yield json.dumps(row).encode() + b"\n"


class Caller:
    """A client that repeats what fails, as ours do."""

    def __init__(self, session, url):
        self._session = session
        self._url = url

    async def call(self, method, path, **options):
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                request = self._session.request(method, self._url + path, **options)
                async with request as answer:
                    body = await answer.read()
                    if answer.status < 500:
                        assert answer.status < 300, body
                        return body
            assert time.monotonic() < until, f"{method} {path} has no answer"
            await asyncio.sleep(0.2)

    async def json(self, method, path, **options):
        return json.loads(await self.call(method, path, **options))


async def run(folder, plan, say=lambda _: None, postgres=None) -> Outcome:
    """Run a batch by the plan; `say` gets progress."""
    (folder / "redis").mkdir()
    redis = RedisProcess(folder / "redis", fsync=plan.fsync)
    try:
        async with FaultServer(requests_kept=0) as provider:
            provider.latency_s = plan.latency_s
            fleet = Fleet(folder, plan, redis, provider.base_url("openai"), postgres)
            try:
                await fleet.start()
                timeout = aiohttp.ClientTimeout(total=60)
                async with aiohttp.ClientSession(timeout=timeout) as session:
                    return await _under_fire(fleet, Caller(session, fleet.url), provider, say)
            finally:
                await fleet.close()
    finally:
        redis.stop()


async def _under_fire(fleet, caller, provider, say) -> Outcome:
    plan = fleet.plan
    wanted = {"criteria": ["It is polite."]}
    body = b"".join(rows(plan))
    headers = {"Content-Type": "application/x-ndjson"}
    if plan.over_dataset:
        await caller.call("POST", "/v1/datasets", json={"name": "rows"})
        await caller.call("PUT", "/v1/datasets/rows/items", data=body, headers=headers)
        wanted["dataset"] = "rows"
    made = await caller.json("POST", "/v1/batches", json=wanted)
    path = f"/v1/batches/{made['id']}"
    if not plan.over_dataset:
        await caller.call("PUT", f"{path}/items", data=body, headers=headers)
        await caller.call("POST", f"{path}/start")
    started_s = time.monotonic()
    outcome = Outcome(made)
    killing = asyncio.create_task(_kill_by_plan(fleet, outcome, started_s))
    try:
        while outcome.batch["status"] in ("open", "running"):
            await asyncio.sleep(0.5)
            outcome.batch = await caller.json("GET", path)
            say(f"{outcome.batch['counts']} {provider.count} calls")
            assert time.monotonic() - started_s < plan.give_up_s, outcome.batch
            if killing.done():
                killing.result()
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
    outcome.seconds = time.monotonic() - started_s
    outcome.calls = provider.count
    accept = {"Accept": "application/x-ndjson"}
    lines = await caller.call("GET", f"{path}/results", headers=accept)
    outcome.results = [json.loads(line) for line in lines.splitlines()]
    return outcome


async def _kill_by_plan(fleet, outcome, started_s):
    plan = fleet.plan
    due = [(at, "api") for at in plan.kill_api_at_s] + [
        (at, "redis") for at in plan.kill_redis_at_s
    ]
    due += [(at, "postgres") for at in plan.kill_postgres_at_s]
    times = int(plan.give_up_s / plan.kill_worker_every_s)
    due += [(number * plan.kill_worker_every_s, "worker") for number in range(1, times)]
    for at, what in sorted(due):
        await asyncio.sleep(max(0.0, started_s + at - time.monotonic()))
        if what == "api":
            outcome.api_kills += 1
            await fleet.replace_api()
        elif what == "redis":
            outcome.redis_kills += 1
            await fleet.replace_redis()
        elif what == "postgres":
            outcome.postgres_kills += 1
            await fleet.replace_postgres()
        else:
            await _some_progress(outcome)
            outcome.worker_kills += 1
            await fleet.replace_worker(outcome.worker_kills % plan.workers)


async def _some_progress(outcome):
    """Wait until rows have ended: a worker slow to start would be killed before its first."""
    counts = outcome.batch["counts"]
    wanted = counts["pending"] - min(100, counts["total"] // 20)
    while outcome.batch["counts"]["pending"] > wanted:  # noqa: ASYNC110 # polled by the caller
        await asyncio.sleep(0.1)

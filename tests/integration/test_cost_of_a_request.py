"""What one evaluation of a megabyte costs, counted instead of timed: a change that adds a copy of
the text, a round trip, a provider's call or a forgotten task fails here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import itertools
import json
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import uvloop

import assay
from assay.bootstrap import open_service
from assay.resilience.settlements import Settlements
from assay.settings import load
from fakes.redis_process import RedisProcess
from fakes.service_process import ROOT

PACKAGE = str(Path(assay.__file__).parent)
TEXT_BYTES = 1_048_576
CHUNK_BYTES = 65_536
"""What the server hands on at a time."""
THINKING_S = 0.5
LARGE_BYTES = 512 * 1_024
"""A block as large as this holds a copy of the text."""
COPIES_MAX = 1.3
"""Memory of a request over its body's size, where the text is held once."""
EVALUATIONS = 20
ROUNDS = 3
BACKGROUND_CALLS_PER_S = 8
OWN_FRAMES_MAX = 955
"""Calls of our own functions that one evaluation of 2 KB takes."""
VALUES_MAX = 80
"""Value objects that it makes."""
SETTLE_S = 0.5
SETTLED_S = 3 * SETTLE_S
"""After the last evaluation: a batch of settlements, another of what was left, and a margin."""
SCRIPT_CALLS = 1
"""For each evaluation: the reservation before the call. Settlements share calls."""

CONFIG = """
[redis]
url = "{redis}"

[providers.fake]
dialect = "openai"
base_url = "{provider}"

[models."fake/judge"]
provider = "fake"
name = "judge"
requests_per_minute = 6_000_000
tokens_per_minute = 60_000_000_000
"""


@dataclass
class Subject:
    """The whole service but its socket, with a real Redis and a provider in its own process."""

    app: Any
    redis: RedisProcess
    control_url: str
    on_received: Callable[[], None] | None = None
    """Called when the last chunk of a body is handed on."""

    async def evaluate(self, body: bytes) -> dict[str, Any]:
        """Send one request as the server would, in chunks that nothing else holds."""
        starts = iter(range(0, len(body), CHUNK_BYTES))
        sent: list[dict[str, Any]] = []
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            start = next(starts, None)
            if start is None:
                await gone.wait()
                return {"type": "http.disconnect"}
            more = start + CHUNK_BYTES < len(body)
            if not more and self.on_received is not None:
                self.on_received()
            chunk = body[start : start + CHUNK_BYTES]
            return {"type": "http.request", "body": chunk, "more_body": more}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        scope = {
            "type": "http", "method": "POST", "path": "/v1/evaluations", "raw_path": b"",
            "query_string": b"", "headers": headers, "root_path": "", "scheme": "http",
            "http_version": "1.1", "asgi": {"version": "3.0"}, "client": None, "server": None,
        }  # fmt: skip
        await self.app(scope, receive, send)
        gone.set()
        answer: dict[str, Any] = json.loads(b"".join(each.get("body", b"") for each in sent))
        assert answer["status"] == "completed", answer
        return answer

    async def provider_calls(self, **orders: Any) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.control_url, json=orders) as answer,
        ):
            return int((await answer.json())["count"])

    async def script_calls(self) -> int:
        stats: Any = await asyncio.to_thread(self.redis.command, "INFO", "commandstats")
        return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


@contextlib.asynccontextmanager
async def subject(tmp_path: Any) -> AsyncIterator[Subject]:
    provider = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fakes.providers.server",
        cwd=ROOT / "tests", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    redis = await asyncio.to_thread(RedisProcess, tmp_path)
    try:
        assert provider.stdout is not None
        ports = json.loads(await provider.stdout.readline())
        config = tmp_path / "assay.toml"
        config.write_text(
            CONFIG.format(redis=redis.url, provider=f"http://127.0.0.1:{ports['port']}/openai/v1")
        )
        async with open_service(load(config, {})) as service:
            service.services.lifecycle.phase = "serving"
            control_url = f"http://127.0.0.1:{ports['control_port']}/_fault"
            yield Subject(service.app, redis, control_url)
    finally:
        provider.terminate()
        await provider.wait()
        await asyncio.to_thread(redis.stop)


def request_body(size: int, number: int = 0) -> bytes:
    """An evaluation of about `size` bytes, unlike those of other numbers."""
    text = f"{number} " + "polite words " * (size // 13)
    return json.dumps({"output": text, "criteria": ["The answer is polite."]}).encode()


def in_the_services_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test on the event loop that the service runs on: others buffer what they send."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_bounded(work))


async def _bounded(work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(30):
        await work()


@dataclass
class Copies:
    """What a request holds: memory in sizes of its body, and the number of large blocks."""

    received: float = 0.0
    held: float = 0.0
    large_blocks: int = 0


async def copies_of(service: Subject, body: bytes) -> Copies:
    """Evaluate once, and look at the memory when the body is in, and when the judge has it.

    Peaks are not counted: JSON libraries reserve a multiple of a text and never touch it.
    """
    copies = Copies()
    before = await service.provider_calls(latency_s=THINKING_S)
    gc.collect()
    base, _ = tracemalloc.get_traced_memory()

    def look() -> None:
        copies.received = (tracemalloc.get_traced_memory()[0] - base) / len(body)

    service.on_received = look
    evaluation = asyncio.create_task(service.evaluate(body))
    while await service.provider_calls() == before:  # noqa: ASYNC110 # it is another process
        await asyncio.sleep(0.01)
    copies.held = (tracemalloc.get_traced_memory()[0] - base) / len(body)
    traces = tracemalloc.take_snapshot().traces
    copies.large_blocks = sum(trace.size >= LARGE_BYTES for trace in traces)
    assert not evaluation.done()
    await evaluation
    return copies


def test_a_text_is_held_once_while_its_judge_thinks(tmp_path):
    """Neither the request's bytes nor those of the upstream body outlive their use."""

    async def work() -> None:
        async with subject(tmp_path) as service:
            await service.evaluate(request_body(1_000))
            body = request_body(TEXT_BYTES)
            tracemalloc.start()
            try:
                copies = await copies_of(service, body)
            finally:
                tracemalloc.stop()
        assert copies.large_blocks == 1, copies
        assert copies.received <= COPIES_MAX, copies
        assert copies.held <= COPIES_MAX, copies

    in_the_services_loop(work)


async def fewest_tasks() -> int:
    """The tasks that last: what runs now and then, such as a visit to Redis, is over at times."""
    fewest = len(asyncio.all_tasks())
    for _ in range(20):
        await asyncio.sleep(0.01)
        fewest = min(fewest, len(asyncio.all_tasks()))
    return fewest


@pytest.fixture
def settled_together(monkeypatch: pytest.MonkeyPatch):
    """Settlements wait for each other as they do under load, however slowly evaluations come."""
    monkeypatch.setitem(Settlements.__init__.__kwdefaults__, "gather_s", SETTLE_S)


@pytest.mark.usefixtures("settled_together")
def test_an_evaluation_makes_one_call_and_one_visit_to_redis(tmp_path):
    """One judged criterion: one provider's call, a reservation, and no task left."""

    async def work() -> None:
        async with subject(tmp_path) as service:
            await service.evaluate(request_body(1_000))
            await asyncio.sleep(SETTLED_S)
            tasks = await fewest_tasks()
            calls, scripts = await service.provider_calls(), await service.script_calls()
            started_s = time.monotonic()
            for number in range(EVALUATIONS):
                await service.evaluate(request_body(1_000, number + 1))
            await asyncio.sleep(0.1)
            assert await service.provider_calls() - calls == EVALUATIONS
            visits = await service.script_calls() - scripts
            # Breakers are shared, quotas read and Redis watched once a second, whatever the load.
            aside = BACKGROUND_CALLS_PER_S * (1 + time.monotonic() - started_s)
            assert SCRIPT_CALLS * EVALUATIONS <= visits < SCRIPT_CALLS * EVALUATIONS + aside
            await asyncio.sleep(SETTLED_S)
            assert await fewest_tasks() == tasks

    in_the_services_loop(work)


@dataclass
class Frames:
    """Counts the functions that are called: our own, and those that make value objects."""

    own: int = 0
    values: int = 0

    def __call__(self, frame: Any, event: str, _: Any) -> None:
        if event != "call":
            return
        if frame.f_code.co_filename.startswith(PACKAGE):
            self.own += 1
        elif frame.f_code.co_filename == "<string>" and frame.f_code.co_name == "__init__":
            self.values += 1


@pytest.fixture
def log_as_served():
    """Lines from the level info on, as in a service."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.WriteLoggerFactory(io.StringIO()),
    )
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("log_as_served", "settled_together")
def test_an_evaluation_takes_a_bounded_number_of_frames_and_value_objects(tmp_path):
    """The way of a request is as long as it was: a change that adds steps to it fails here."""

    async def work() -> None:
        async with subject(tmp_path) as service:
            numbers = itertools.count()
            for _ in range(EVALUATIONS):
                await service.evaluate(request_body(2_000, next(numbers)))
            rounds = []
            for _ in range(ROUNDS):
                rounds.append(frames := Frames())
                sys.setprofile(frames)
                try:
                    for _ in range(EVALUATIONS):
                        await service.evaluate(request_body(2_000, next(numbers)))
                finally:
                    sys.setprofile(None)
        # What runs once a second counts in a round of a busy machine.
        own, values = min(each.own for each in rounds), min(each.values for each in rounds)
        assert 100 < own / EVALUATIONS <= OWN_FRAMES_MAX, rounds
        assert 10 < values / EVALUATIONS <= VALUES_MAX, rounds

    in_the_services_loop(work)


def test_without_opentelemetry_nothing_of_it_runs(tmp_path):
    """Not a function of the SDK or of what describes events to it, and no thread."""
    names = ("/opentelemetry/", "/telemetry/otel/", "/fastapi/telemetry/_runtime")
    ran: set[str] = set()

    def note(frame: Any, *_: Any) -> None:
        file = frame.f_code.co_filename
        if any(name in file for name in names):
            ran.add(f"{file}:{frame.f_code.co_name}")

    async def work() -> None:
        async with subject(tmp_path) as service:
            await service.evaluate(request_body(1_000))
            threads = {thread.name for thread in threading.enumerate()}
            assert not [name for name in threads if name.startswith("Otel")]
            sys.setprofile(note)
            try:
                await service.evaluate(request_body(1_000, 1))
            finally:
                sys.setprofile(None)
        assert not ran

    in_the_services_loop(work)

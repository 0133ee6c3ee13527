"""The load generator: sends one prepared request over many connections and times the answers.

Usage: python bench/load.py < orders.json

Reads `Orders` and prints an `Outcome`, both as JSON. It is a process of its own, on the bare
transport. With a rate, arrivals keep to a fixed timetable. Latency counts from the moment a request
was due, even if no connection was free then, so a slow answer cannot hide the requests behind it
(no coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import orjson
import uvloop

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
SERIAL = b"SERIAL##"
"""The place in a body for the number of the request."""
FAILED = 599
"""The status recorded for an answer that was cut off or never came."""


@dataclass
class Orders:
    """What to send. `requests` or `seconds` bound the run; a `rate` makes it an open loop."""

    port: int
    path: str
    body_file: str
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 32
    requests: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    expect: str = ""
    timeout_s: float = 60.0


@dataclass
class Outcome:
    """The figures of a run; an answer is right if its status is 200 and it contains `expect`."""

    right: int
    statuses: dict[str, int]
    retry_after: int
    seconds: float
    rate: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    generator_cpu_s: float


class Caller(asyncio.Protocol):
    """One connection: writes the request, reads the answer and reports it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._connecting: asyncio.Future[None] | None = None
        self.due_s = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self.busy:
            self._finish(FAILED, b"")

    def send(self, due_s: float) -> None:
        self.due_s, self.busy = due_s, True
        if self._transport is None:
            self._connecting = asyncio.ensure_future(self._connect_and_send())
        else:
            self._transport.writelines(self._run.request())

    async def _connect_and_send(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self._run.orders.port)
        except OSError:
            self._finish(FAILED, b"")
            return
        assert self._transport is not None
        self._transport.writelines(self._run.request())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(HEAD_END)
        if not end:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        if at >= 0:
            complete = len(body) >= int(lowered[at + 15 :].split(b"\r\n", 1)[0])
        else:
            complete = body.endswith(LAST_CHUNK)
        if complete:
            if b"connection: close" in lowered and self._transport is not None:
                self._transport.close()
                self._transport = None
            self._finish(int(head[9:12]), head + body)

    def _finish(self, status: int, answer: bytes) -> None:
        self._received, self.busy = b"", False
        self._run.finished(self, status, answer)


class Run:
    """One run: hands out requests to callers and counts the answers."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        body = Path(orders.body_file).read_bytes()
        head = f"POST {orders.path} HTTP/1.1\r\nhost: 127.0.0.1:{orders.port}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in orders.headers.items())
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._opening, marked, self._rest = (head.encode() + body).partition(SERIAL)
        if not marked:
            raise ValueError("the body contains no place for a serial number")
        self._serial = 0
        self._expect = orders.expect.encode()
        self._latencies_s: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._right = self._retry_after = self._sent = self._ended = 0
        self._waiting: deque[float] = deque()
        self._idle = [Caller(self) for _ in range(orders.connections)]
        self._closing = False
        self._done = asyncio.Event()
        self._last_s = 0.0

    def request(self) -> tuple[bytes, bytes, bytes]:
        """A request that differs from all others: equal ones would share one upstream call."""
        self._serial += 1
        return self._opening, b"%08d" % self._serial, self._rest

    async def run(self) -> Outcome:
        cpu_s, started_s = time.process_time(), time.perf_counter()
        self._started_s = started_s
        if self.orders.rate:
            await self._keep_timetable()
        else:
            for caller in self._idle.copy():
                self._next(caller)
        if self._ended < self._sent or self._waiting:
            async with asyncio.timeout(self.orders.seconds + self.orders.timeout_s):
                await self._done.wait()
        return self._outcome(self._last_s - started_s, time.process_time() - cpu_s)

    async def _keep_timetable(self) -> None:
        count = self.orders.requests or int(self.orders.seconds * self.orders.rate)
        for number in range(count):
            due_s = self._started_s + number / self.orders.rate
            await asyncio.sleep(max(due_s - time.perf_counter(), 0))
            self._sent += 1
            if self._idle:
                self._idle.pop().send(due_s)
            else:
                self._waiting.append(due_s)
        self._closing = True

    def finished(self, caller: Caller, status: int, answer: bytes) -> None:
        self._last_s = time.perf_counter()
        self._ended += 1
        self._statuses[status] += 1
        self._retry_after += b"retry-after:" in answer[:2_048].lower()
        if status == 200 and self._expect in answer:
            self._right += 1
            self._latencies_s.append(self._last_s - caller.due_s)
        if self.orders.rate:
            if self._waiting:
                caller.send(self._waiting.popleft())
            else:
                self._idle.append(caller)
        else:
            self._next(caller, failed=status == FAILED)
        if self._closing and self._ended == self._sent:
            self._done.set()

    def _next(self, caller: Caller, *, failed: bool = False) -> None:
        """Closed loop: the next request goes out when the last one is answered.

        A failed connection is not used again: reconnecting at once would cause a storm.
        """
        now_s = time.perf_counter()
        over = (
            self._sent >= self.orders.requests
            if self.orders.requests
            else now_s - self._started_s >= self.orders.seconds
        )
        if over or failed:
            self._closing = True
        else:
            self._sent += 1
            caller.send(now_s)

    def _outcome(self, seconds: float, cpu_s: float) -> Outcome:
        latencies = sorted(self._latencies_s) or [0.0]

        def quantile_ms(share: float) -> float:
            return latencies[min(int(share * len(latencies)), len(latencies) - 1)] * 1_000

        return Outcome(
            right=self._right,
            statuses={str(status): count for status, count in self._statuses.items()},
            retry_after=self._retry_after,
            seconds=seconds,
            rate=self._right / seconds if seconds > 0 else 0.0,
            p50_ms=quantile_ms(0.50),
            p90_ms=quantile_ms(0.90),
            p99_ms=quantile_ms(0.99),
            max_ms=latencies[-1] * 1_000,
            generator_cpu_s=cpu_s,
        )


async def main() -> None:
    orders = Orders(**orjson.loads(sys.stdin.buffer.read()))
    gc.freeze()
    gc.disable()
    outcome = await Run(orders).run()
    sys.stdout.buffer.write(orjson.dumps(asdict(outcome)))


if __name__ == "__main__":
    uvloop.run(main())

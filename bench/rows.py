"""A large batch from upload to the last result, and the memory of the API and of a worker."""

from __future__ import annotations

import http.client
import random
import string
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import payloads
import processes
import report
from options import Options
from processes import Server

ROWS, ROWS_QUICK = 100_000, 2_000
ROW_BYTES = 2 * payloads.KB
FIRST_ROWS = 1_000
"""Memory is compared from this row on; before it, caches and pools fill."""
DELAY_S = 0.05
WORKER_ROWS = 128
PIECE_BYTES = 256 * payloads.KB
LOOK_EVERY_S = 0.5
FLAT_WITHIN = 0.1
TIMEOUT_S = 900.0


def batch(options: Options, folder: Path) -> None:
    """100,000 rows of 2 KB, uploaded as one stream and judged by a worker process."""
    count = ROWS_QUICK if options.quick else ROWS
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(
            processes.assay(folder, provider, redis, worker_rows=WORKER_ROWS)
        )
        worker = stack.enter_context(processes.worker(folder))
        caller = Caller(service.port)
        path = f"/v1/batches/{caller.ask('POST', '/v1/batches', CRITERIA)['id']}"
        watched = [Watched("API", service), Watched("worker", worker)]
        started_s = time.perf_counter()
        caller.upload(f"{path}/items", rows(count), watched[0])
        uploaded_s = time.perf_counter() - started_s
        caller.ask("POST", f"{path}/start")
        started_s = time.perf_counter()
        scored = _followed(caller, path, count, watched)
        judged_s = time.perf_counter() - started_s
    if scored != count:
        raise RuntimeError(f"{scored} of {count} rows were scored")
    table = [("", f"MB at row {FIRST_ROWS:,}", "least MB", "most MB", "change at most")]
    table += [process.row for process in watched]
    speed = f"uploaded {count / uploaded_s:,.0f} rows/s, judged {count / judged_s:,.0f} rows/s"
    notes = [f"{speed}, all {scored:,} scored"]
    report.show(f"batch: {count:,} rows of {ROW_BYTES:,} bytes", table, notes)
    report.keep(
        "batch",
        {
            "rows": count, "upload_rows_per_s": count / uploaded_s,
            "judged_rows_per_s": count / judged_s, "flat_within": FLAT_WITHIN,
            "memory_mb": {it.name: [round(mb, 1) for mb in it.seen_mb] for it in watched},
            "change": {it.name: it.change for it in watched},
        },
    )  # fmt: skip


CRITERIA = orjson.dumps({"criteria": [{"type": "rubric", "rubric": payloads.RUBRIC}]})


def rows(count: int) -> Iterator[bytes]:
    """The rows as lines, in pieces; every text is different and hardly compresses."""
    rng = random.Random(0)
    text = "".join(rng.choices(string.ascii_letters + " ", k=2 * ROW_BYTES))
    piece: list[bytes] = []
    for number in range(count):
        start = rng.randrange(ROW_BYTES)
        row = {"id": str(number), "output": f"{number} {text[start : start + ROW_BYTES]}"}
        piece.append(orjson.dumps(row) + b"\n")
        if len(piece) * ROW_BYTES >= PIECE_BYTES:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)


@dataclass
class Watched:
    """A process whose memory is sampled from row 1,000 to the last."""

    name: str
    server: Server
    seen_mb: list[float] = field(default_factory=list)

    def look(self) -> None:
        self.seen_mb.append(self.server.resident_mb)

    @property
    def change(self) -> float:
        """The largest distance from the first sample, as a share of it."""
        first = self.seen_mb[0]
        return max(abs(mb - first) for mb in self.seen_mb) / first

    @property
    def row(self) -> tuple[str, ...]:
        least, most = min(self.seen_mb), max(self.seen_mb)
        first = self.seen_mb[0]
        return (self.name, f"{first:.0f}", f"{least:.0f}", f"{most:.0f}", f"{self.change:+.0%}")


class Caller:
    """A caller that uploads a batch and asks for its progress."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._headers = {"authorization": f"Bearer {processes.API_KEY}"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        return self._sent(method, path, body, "application/json")

    def upload(self, path: str, pieces: Iterator[bytes], api: Watched) -> None:
        """Stream the rows in chunks, and sample the API's memory about every megabyte."""

        def watched() -> Iterator[bytes]:
            for number, piece in enumerate(pieces):
                yield piece
                if number % 4 == 0 and number * PIECE_BYTES >= FIRST_ROWS * ROW_BYTES:
                    api.look()

        self._sent("PUT", path, watched(), "application/x-ndjson")

    def _sent(self, method: str, path: str, body: Any, kind: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            headers = {**self._headers, "content-type": kind}
            connection.request(method, path, body, headers, encode_chunked=chunked)
            answer = connection.getresponse()
            document: dict[str, Any] = orjson.loads(answer.read())
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.status} {document}")
        return document


def _followed(caller: Caller, path: str, count: int, watched: list[Watched]) -> int:
    """Sample the memory until the batch has ended; the number of scored rows."""
    until_s = time.perf_counter() + TIMEOUT_S
    while time.perf_counter() < until_s:
        progress = caller.ask("GET", path)
        scored = int(progress["counts"]["scored"])
        if progress["status"] != "running":
            return scored
        if scored >= min(FIRST_ROWS, count // 2):
            for process in watched:
                process.look()
        time.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"the batch did not end within {TIMEOUT_S:g} s")

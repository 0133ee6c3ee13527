"""Uploads of 128 MB into a real process: its memory does not grow with them."""

import io
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pyarrow as pa
import pytest
from pyarrow import parquet

from fakes.service_process import ServiceProcess, running_service

MB = 1024 * 1024
SMALL_SIZE, SIZE = 48 * MB, 128 * MB
ROW_TEXT = "The answer of a model, which is one of many. " * 200
GROWTH_MAX = 40 * MB
"""What pools and caches still gain; an upload held in memory would gain 80 MB."""


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def begin_a_new_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


async def lines(size: int) -> AsyncIterator[bytes]:
    sent = 0
    for start in itertools.count(0, 100):
        rows = ({"id": str(n), "output": f"{n} {ROW_TEXT}"} for n in range(start, start + 100))
        part = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        yield part
        sent += len(part)
        if sent >= size:
            return


async def csv_lines(size: int) -> AsyncIterator[bytes]:
    yield b"id,output\n"
    async for part in lines(size):
        rows = map(json.loads, part.splitlines())
        yield "".join(f'{row["id"]},"{row["output"]}"\n' for row in rows).encode()


async def one_row_group(size: int) -> AsyncIterator[bytes]:
    count = max(1, size // len(ROW_TEXT))
    columns = {
        "id": [str(n) for n in range(count)],
        "output": [f"{n} {ROW_TEXT}" for n in range(count)],
    }
    file = io.BytesIO()
    parquet.write_table(
        pa.table(columns), file, row_group_size=count, compression="none", use_dictionary=False
    )
    for start in range(0, file.tell(), MB):
        yield file.getbuffer()[start : start + MB].tobytes()


FORMS = {
    "application/x-ndjson": lines,
    "text/csv": csv_lines,
    "application/vnd.apache.parquet": one_row_group,
}


async def put(service: ServiceProcess, name: str, kind: str, size: int) -> int:
    """Upload, and the number of items."""
    async with aiohttp.ClientSession(service.url) as session:
        async with session.post("/v1/datasets", json={"name": name}) as response:
            assert response.status == 201
        path, headers = f"/v1/datasets/{name}/items", {"Content-Type": kind}
        async with session.put(path, data=FORMS[kind](size), headers=headers) as response:
            body = await response.json()
            assert response.status == 200, body
            return int(body["items"])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_memory_stays_flat(tmp_path):
    """In each form, a large upload peaks little above a small one of the same form."""
    async with running_service(tmp_path) as service:
        pid = service.process.pid
        for number, kind in enumerate(FORMS):
            begin_a_new_peak(pid)
            await put(service, f"small-{number}", kind, SMALL_SIZE)
            before = peak_bytes(pid)
            items = await put(service, f"large-{number}", kind, SIZE)
            assert items >= SIZE // len(ROW_TEXT) * 0.95
            assert peak_bytes(pid) - before < GROWTH_MAX, kind

"""Uploads large batches and watches the memory of the API: it must not grow with the rows.

    python bench/batch_memory.py

100,000 rows of 2 KB, then 2,000 rows of 500 KB, each as one streamed upload.
"""

import asyncio
import io
import json
import random
import string
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from fakes.redis_process import RedisProcess  # noqa: E402  # the path is set above
from fakes.service_process import running_service  # noqa: E402

UPLOADS = ((100_000, 2_000), (2_000, 500_000))


def rows(count, size):
    """Rows whose text hardly compresses, as pieces of a body."""
    chance = random.Random(0)
    text = "".join(chance.choices(string.ascii_letters + string.digits, k=2 * size))
    for number in range(count):
        start = chance.randrange(size)
        row = {"id": str(number), "output": text[start : start + size]}
        yield json.dumps(row).encode() + b"\n"


def memory_mb(pid):
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1_024
    raise RuntimeError("no VmRSS")


async def watched(pid, seen):
    while True:
        seen.append(memory_mb(pid))
        await asyncio.sleep(0.1)


async def one(session, pid, count, size):
    async with session.post("/v1/batches", json={"criteria": ["polite"]}) as answer:
        path = f"/v1/batches/{(await answer.json())['id']}"

    async def body():
        buffer = io.BytesIO()
        for row in rows(count, size):
            buffer.write(row)
            if buffer.tell() > 1 << 20:
                yield buffer.getvalue()
                buffer = io.BytesIO()
        yield buffer.getvalue()

    before = memory_mb(pid)
    seen = []
    watching = asyncio.create_task(watched(pid, seen))
    started_s = time.perf_counter()
    headers = {"Content-Type": "application/x-ndjson"}
    async with session.put(f"{path}/items", data=body(), headers=headers) as answer:
        added = await answer.json()
    seconds = time.perf_counter() - started_s
    watching.cancel()
    await session.delete(path)
    half = seen[len(seen) // 2 :]
    print(
        f"{count} rows of {size} bytes: {added['accepted']} accepted in {seconds:.1f} s "
        f"({count * size / seconds / 1e6:.1f} MB/s); memory before {before:.0f} MB, "
        f"most {max(seen):.0f} MB, most in the second half {max(half):.0f} MB"
    )


async def main():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "redis").mkdir()
        redis = RedisProcess(Path(folder) / "redis")
        try:
            config = f'[redis]\nurl = "{redis.url}"\n'
            timeout = aiohttp.ClientTimeout(total=1_800)
            async with (
                running_service(Path(folder), config) as service,
                aiohttp.ClientSession(service.url, timeout=timeout) as session,
            ):
                for count, size in UPLOADS:
                    await one(session, service.process.pid, count, size)
        finally:
            redis.stop()


if __name__ == "__main__":
    asyncio.run(main())

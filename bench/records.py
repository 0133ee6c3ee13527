"""How fast items are written to the records, and how many bytes each takes, on both databases."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import payloads
import report
from options import Options
from sqlalchemy import text

from assay.api.datasets import CHUNK_ITEMS
from assay.domain.exact_json import dumps
from assay.domain.ids import new_id, now_ms
from assay.domain.labels import HumanLabel
from assay.domain.records import NewItem
from assay.records.database import Database
from assay.records.datasets import RecordedDatasets
from assay.records.labels import RecordedLabels
from assay.records.migrate import migrate

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fakes.postgres_process import PostgresProcess, postgres_programs

ITEMS, ITEMS_QUICK = 50_000, 5_000
ITEM_BYTES = 2 * payloads.KB
LABELS_AT_ONCE = 100


def records(options: Options, folder: Path) -> None:
    """Items of 2 KB and labels, added as the API adds them."""
    count = ITEMS_QUICK if options.quick else ITEMS
    table = [("", "items/s", "bytes/item", "of content", "labels/s", "bytes/label")]
    figures: dict[str, Any] = {"items": count, "item_bytes": ITEM_BYTES}
    with ExitStack() as stack:
        urls = {"SQLite": f"sqlite+aiosqlite:///{folder / 'records.db'}"}
        if (programs := postgres_programs()) is not None:
            home = Path(stack.enter_context(TemporaryDirectory(prefix="assay-postgres-")))
            server = PostgresProcess(home, programs)
            stack.callback(server.stop)
            urls["PostgreSQL"] = server.new_database()
        for name, url in urls.items():
            migrate(url)
            measured = asyncio.run(_measured(url, count))
            figures[name.lower()] = measured
            table.append(
                (
                    name,
                    f"{measured['items_per_s']:,.0f}",
                    f"{measured['bytes_per_item']:,.0f}",
                    f"{measured['content_bytes']:,.0f}",
                    f"{measured['labels_per_s']:,.0f}",
                    f"{measured['bytes_per_label']:,.0f}",
                )
            )
    report.show(f"records: {count:,} items of {ITEM_BYTES:,} bytes", table)
    if not options.quick:
        report.keep("records", figures)


async def _measured(url: str, count: int) -> dict[str, float]:
    database = Database(url, embedded=False)
    try:
        before = await database_bytes(database)
        content, items_s = await _write_items(RecordedDatasets(database), count)
        between = await database_bytes(database)
        labels_s = await _write_labels(RecordedLabels(database), count)
        after = await database_bytes(database)
    finally:
        await database.aclose()
    return {
        "items_per_s": count / items_s,
        "bytes_per_item": (between - before) / count,
        "content_bytes": content / count,
        "labels_per_s": count / labels_s,
        "bytes_per_label": (after - between) / count,
    }


async def _write_items(store: RecordedDatasets, count: int) -> tuple[int, float]:
    """The bytes of content, and the seconds that it took to write and publish them."""
    version = await store.create("bench", "bench", "", None)
    rng, content, seconds = random.Random(0), 0, 0.0
    upload = await store.open_upload(version)
    for start in range(0, count, CHUNK_ITEMS):
        items = [_item(number, rng) for number in range(start, min(start + CHUNK_ITEMS, count))]
        content += sum(len(item.body) for item in items)
        started_s = time.perf_counter()
        await store.add_items(upload, items)
        seconds += time.perf_counter() - started_s
    started_s = time.perf_counter()
    await store.publish(upload, append=False)
    return content, seconds + time.perf_counter() - started_s


def _item(number: int, rng: random.Random) -> NewItem:
    words = " ".join(rng.choices(WORDS, k=ITEM_BYTES // 8))[: ITEM_BYTES - 40]
    body = dumps({"output": words, "metadata": {"n": number}})
    return NewItem(number, f"item-{number}", f"{number:064x}", body, None, "test", {"n": number})


async def _write_labels(store: RecordedLabels, count: int) -> float:
    seconds = 0.0
    for start in range(0, count, LABELS_AT_ONCE):
        labels = [
            HumanLabel(
                new_id("label"), now_ms(), f"{number:064x}", "polite", "annotator", "bench", "",
                f"item-{number}", passed=bool(number % 2),
            )
            for number in range(start, min(start + LABELS_AT_ONCE, count))
        ]  # fmt: skip
        started_s = time.perf_counter()
        await store.add("bench", labels)
        seconds += time.perf_counter() - started_s
    return seconds


async def database_bytes(database: Database) -> int:
    async with database.reading() as connection:
        if connection.dialect.name == "sqlite":
            pages = await connection.scalar(text("PRAGMA page_count"))
            return int(pages or 0) * int(await connection.scalar(text("PRAGMA page_size")) or 0)
        return int(
            await connection.scalar(text("SELECT pg_database_size(current_database())")) or 0
        )


WORDS = [f"{random.Random(n).getrandbits(28):x}" for n in range(4_000)]

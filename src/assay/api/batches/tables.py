"""Results of a batch as a table: CSV and Parquet, one row for each result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from assay.domain.batches import StoredResult
from assay.domain.exact_json import loads
from assay.http.csv_row import csv_row

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
OF_ROW: Mapping[str, type] = {
    "item_id": str,
    "item_index": int,
    "status": str,
    "passed": bool,
    "score": float,
    "cost_usd": float,
    "latency_ms": float,
    "revision": str,
    "output": str,
    "error": str,
}
OF_CRITERION: Mapping[str, type] = {
    "status": str,
    "score": float,
    "label": str,
    "passed": bool,
    "reason": str,
    "explanation": str,
}
"""The columns of each criterion, after its name and a dot."""
SPOOLED_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024

Pages = AsyncIterator[Sequence[StoredResult]]
Columns = Mapping[str, type]


def columns(criteria: Iterable[str]) -> Columns:
    """The columns of a batch with these criteria, with the types of their values."""
    own = {f"{name}.{column}": kind for name in criteria for column, kind in OF_CRITERION.items()}
    return {**OF_ROW, **own}


async def csv_table(shape: Columns, pages: Pages) -> AsyncIterator[bytes]:
    """RFC 4180, in UTF-8, with a header; a missing value is an empty cell."""
    yield await asyncio.to_thread(_csv, [dict(zip(shape, shape, strict=True))], shape)
    async for page in pages:
        yield await asyncio.to_thread(_csv, map(_record, page), shape)


async def parquet_table(shape: Columns, pages: Pages) -> AsyncIterator[bytes]:
    """A Parquet file; it is written to a temporary file first, since its index is at the end."""
    with SpooledTemporaryFile(SPOOLED_BYTES) as file:
        write, close = await asyncio.to_thread(_parquet_writer, shape, file)
        async for page in pages:
            await asyncio.to_thread(write, page)
        await asyncio.to_thread(close)
        file.seek(0)
        while piece := await asyncio.to_thread(file.read, READ_BYTES):
            yield piece


TABLES: Mapping[str, Callable[[Columns, Pages], AsyncIterator[bytes]]] = {
    CSV: csv_table,
    PARQUET: parquet_table,
}
"""By media type."""


def _record(result: StoredResult) -> dict[str, Any]:
    body = loads(result.body)
    record = {name: body.get(name) for name in OF_ROW}
    record |= {
        "item_id": result.item_id,
        "item_index": result.index,
        "revision": (body.get("evaluator") or {}).get("revision"),
        "output": (body.get("generated") or {}).get("output"),
        "error": (body.get("error") or {}).get("message"),
    }
    for criterion in body.get("results", ()):
        record |= {f"{criterion['name']}.{name}": criterion[name] for name in OF_CRITERION}
    return record


def _csv(records: Iterable[Mapping[str, Any]], shape: Columns) -> bytes:
    return "".join(csv_row(map(record.get, shape)) for record in records).encode()


def _parquet_writer(
    shape: Columns, file: IO[bytes]
) -> tuple[Callable[[Sequence[StoredResult]], None], Callable[[], None]]:
    import pyarrow as pa  # noqa: PLC0415  # 30 MB, for the few who read Parquet
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415

    kinds = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in shape.items()])
    writer = ParquetWriter(file, schema)

    def write(page: Sequence[StoredResult]) -> None:
        records = [_record(result) for result in page]
        rows = [{name: record.get(name) for name in shape} for record in records]
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))

    return write, writer.close

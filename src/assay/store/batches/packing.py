"""How rows, results and counts of batches stand in Redis."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import cast

import orjson

from assay.domain.batches import ROW_STATUSES, Batch, BatchStatus

COMPRESS_OVER_BYTES = 256
PLAIN, DEFLATED = b"0", b"1"
SUMS = ("cost_nano_usd", "input_tokens", "output_tokens", "simulated")


def pack(item_id: str, body: bytes) -> bytes:
    """An item's JSON with its id, compressed where that is worth it."""
    whole = orjson.dumps(item_id) + b"\n" + body
    if len(whole) <= COMPRESS_OVER_BYTES:
        return PLAIN + whole
    return DEFLATED + zlib.compress(whole, 1)


def unpack(packed: bytes) -> tuple[str, bytes]:
    """The id and the JSON that `pack` made a value of."""
    whole = packed[1:] if packed[:1] == PLAIN else zlib.decompress(packed[1:])
    head, _, body = whole.partition(b"\n")
    return orjson.loads(head), body


def batch_of(batch_id: str, stored: Mapping[bytes, bytes]) -> Batch:
    """A batch from its `meta` hash."""
    text = {name.decode(): value.decode() for name, value in stored.items()}

    def number(name: str) -> int:
        return int(text.get(name, 0))

    return Batch(
        id=batch_id,
        tenant=text["tenant"],
        status=cast("BatchStatus", text["status"]),
        created_ms=number("created"),
        expires_ms=number("expires"),
        started_ms=number("started"),
        finished_ms=number("finished"),
        total=number("total"),
        settled=number("settled"),
        rejected=number("rejected"),
        retried=number("retried"),
        rows_per_s=float(text.get("rate", 0.0)),
        by_status={status: number(status) for status in ROW_STATUSES},
        sums={name: number(name) for name in SUMS},
        hook=text.get("hook", "none"),
        error=text.get("error", ""),
    )

"""Comparisons of two batches, computed once in the background and kept in the records.

A comparison is noted before its work begins, and gets its outcome only if the note is still there.
An erasure removes notes and outcomes: so none is kept of results that were erased meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from assay import __version__
from assay.batches.lasting import LastingBatches
from assay.batches.rows import BatchSpecError, load_batch_spec
from assay.batches.run_results import RunResults
from assay.catalog.stores import OpenStores
from assay.domain.batches import Batch, StoredResult
from assay.domain.errors import RequestError, StoreUnavailable
from assay.domain.exact_json import dumps, loads
from assay.domain.ids import now_ms, random_hex
from assay.domain.records import (
    COMPARISON,
    COMPARISON_ROWS,
    ObjectStore,
    RecordsUnavailable,
    StoredObject,
)
from assay.domain.supervision import SupervisedTask, Supervisor

KINDS = ("regressions", "improvements", "unscored")
ROWS_KEPT_MAX = 10_000
"""Changed rows of one kind and criterion, the worst first; further ones are only counted."""
ITEMS_KEPT_MAX = 1_000
ROWS_AT_ONCE = 100
KEPT_MAX = 100
"""Comparisons of a tenant: to look at pairs of batches must not fill the database."""
AT_ONCE = 2
"""Comparisons that one process computes at a time: each holds the columns of two batches."""
POLL_S = 0.5
NOTED_EVERY_S = 1.0
ABANDONED_MS = 60_000
"""A note that has not changed for so long is that of a process that died."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A comparison that is being computed."""

    rows_read: int
    rows: int


@dataclass(frozen=True, slots=True)
class KeptComparison:
    """The document of a comparison; the changed rows of its criteria are read apart."""

    objects: ObjectStore
    tenant: str
    id: str
    document: dict[str, Any]

    async def with_rows(self, limit: int) -> dict[str, Any]:
        """The document with at most `limit` rows of each kind, and as many items."""
        criteria = self.document["criteria"]
        pages = -(-limit // ROWS_AT_ONCE)
        found = await self.objects.page(
            self.tenant, COMPARISON_ROWS, self.id,
            limit=pages * len(criteria) * len(KINDS), descending=False,
        )  # fmt: skip
        for stored in found:
            rows = criteria[stored.document["criterion"]][stored.document["kind"]]["rows"]
            if len(rows) == stored.document["first"]:
                rows += loads(stored.document["rows"].encode())[: limit - len(rows)]
        for name in ("items_only_base", "items_only_candidate"):
            del self.document[name]["ids"][limit:]
        return self.document

    async def rows(self, criterion: str, kind: str, first: int, limit: int) -> list[Any]:
        """Changed rows from the number `first` on; none for what has no such criterion."""
        names = [one["name"] for one in self.document["criteria"]]
        if criterion not in names:
            return []
        found: list[Any] = []
        page, skipped = divmod(first, ROWS_AT_ONCE)
        while len(found) < skipped + limit:
            id_ = _rows_id(self.id, page, names.index(criterion), KINDS.index(kind))
            stored = await self.objects.find(self.tenant, COMPARISON_ROWS, id_, self.id)
            if stored is None:
                break
            found += loads(stored.document["rows"].encode())
            page += 1
        return found[skipped : skipped + limit]


class KeptComparisons:
    """Finds comparisons, and computes those that are not there yet."""

    def __init__(
        self, lasting: LastingBatches, open_stores: OpenStores, supervisor: Supervisor
    ) -> None:
        self._lasting = lasting
        self._open_stores = open_stores
        self._supervisor = supervisor
        self._computed: dict[str, asyncio.Future[None]] = {}

    async def find(self, base: Batch, candidate: Batch, wait_s: float) -> KeptComparison | Progress:
        """The comparison of two batches that have ended, or how far it is after `wait_s`.

        Raises `RequestError` if they cannot be compared, `RecordsUnavailable`, and what the
        computation in this process raised.
        """
        objects = (await self._open_stores()).objects
        tenant, id_ = candidate.tenant, _comparison_id(base, candidate)
        until_s = time.monotonic() + wait_s
        while True:
            stored = await objects.find(tenant, COMPARISON, id_)
            if stored is not None and "body" in stored.document:
                return KeptComparison(objects, tenant, id_, loads(stored.document["body"].encode()))
            if stored is not None and "problem" in stored.document:
                raise RequestError(*stored.document["problem"])
            progress = Progress(0, base.total + candidate.total)
            if stored is not None:
                progress = Progress(stored.document["rows_read"], progress.rows)
            if stored is None or stored.updated_ms < now_ms() - ABANDONED_MS:
                self._begin(id_, base, candidate)
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return progress
            computed = self._computed.get(id_) or asyncio.get_running_loop().create_future()
            await asyncio.wait({computed}, timeout=min(left_s, POLL_S))
            if computed.done():
                computed.result()

    def _begin(self, id_: str, base: Batch, candidate: Batch) -> None:
        if id_ not in self._computed and len(self._computed) < AT_ONCE:
            self._computed[id_] = asyncio.get_running_loop().create_future()
            work = partial(self._work, id_, base, candidate)
            self._supervisor.start("comparison", work, restarts=False)

    async def _work(self, id_: str, base: Batch, candidate: Batch, _: SupervisedTask) -> None:
        computed = self._computed[id_]
        try:
            # Who waits for it meets the same outage and says so.
            with suppress(RecordsUnavailable, StoreUnavailable):
                await self._compute(id_, base, candidate)
        except Exception as error:
            computed.set_exception(error)
            computed.exception()  # retrieved here, since no request may be waiting
            await (await self._open_stores()).objects.delete(candidate.tenant, COMPARISON, id_)
            raise
        finally:
            del self._computed[id_]
            if not computed.done():
                computed.set_result(None)

    async def _compute(self, id_: str, base: Batch, candidate: Batch) -> None:
        objects, token = (await self._open_stores()).objects, random_hex(8)
        await _make_room(objects, candidate.tenant)
        note: Mapping[str, Any] = {"token": token, "rows_read": 0}
        await objects.add(candidate.tenant, StoredObject(id_, COMPARISON, note))
        change = partial(objects.change, candidate.tenant, id_, token=token)
        runs: list[RunResults] = []
        rows_read, noted_s = 0, time.monotonic()
        for batch in (base, candidate):
            runs.append(await self._empty(batch))
            async for page in self._lasting.pages(batch):
                await asyncio.to_thread(_add, runs[-1], page)
                rows_read += len(page)
                if time.monotonic() > noted_s + NOTED_EVERY_S:
                    noted_s = time.monotonic()
                    if await change({**note, "rows_read": rows_read}) is None:
                        return
        try:
            document, pages = await asyncio.to_thread(_compare, id_, *runs)
        except RequestError as error:
            await change({"problem": [error.code, error.message]})
        else:
            await change({"body": dumps(document).decode()}, children=pages)

    async def _empty(self, batch: Batch) -> RunResults:
        shown: dict[str, Any] = loads(batch.shown)
        try:
            criteria = load_batch_spec(await self._lasting.request(batch)).criteria
        except BatchSpecError:
            criteria = ()
        return RunResults(
            batch.id,
            shown.get("name"),
            dataset=shown.get("dataset"),
            definitions={one.name or one.type: one.model_dump_json() for one in criteria},
        )


async def _make_room(objects: ObjectStore, tenant: str) -> None:
    """Remove the comparison that was made longest ago if there are as many as may be kept."""
    kept = await objects.page(
        tenant, COMPARISON, limit=KEPT_MAX, descending=False, by_update=True
    )  # fmt: skip
    if len(kept) == KEPT_MAX:
        await objects.delete(tenant, COMPARISON, kept[0].id)


def _add(run: RunResults, page: Sequence[StoredResult]) -> None:
    for result in page:
        run.add(result.item_id, loads(result.body), result.index)


def _compare(
    id_: str, base: RunResults, candidate: RunResults
) -> tuple[dict[str, Any], list[StoredObject]]:
    """The document of a comparison without its rows, and the pages of those."""
    from assay.batches.comparing import compare_results  # noqa: PLC0415  # loads the statistics

    document = loads(dumps(compare_results(base, candidate, ROWS_KEPT_MAX)))
    for name in ("items_only_base", "items_only_candidate"):
        document[name]["ids"] = document[name]["ids"][:ITEMS_KEPT_MAX]
    return document, list(_pages(id_, document["criteria"]))


def _pages(id_: str, criteria: Sequence[dict[str, Any]]) -> Iterator[StoredObject]:
    """The rows of all criteria in pages, which are taken out of the criteria."""
    for place, criterion in enumerate(criteria):
        for number, kind in enumerate(KINDS):
            rows, criterion[kind]["rows"] = criterion[kind]["rows"], []
            for page, first in enumerate(range(0, len(rows), ROWS_AT_ONCE)):
                content = dumps(rows[first : first + ROWS_AT_ONCE]).decode()
                about = {"criterion": place, "kind": kind, "first": first, "rows": content}
                own_id = _rows_id(id_, page, place, number)
                yield StoredObject(own_id, COMPARISON_ROWS, about, id_)


def _comparison_id(base: Batch, candidate: Batch) -> str:
    """Changes with what is compared: a cancelled batch gets results for a while after its end."""
    parts = [__version__, *(f"{one.id} {one.settled}" for one in (base, candidate))]
    return f"{COMPARISON}_{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:32]}"


def _rows_id(comparison: str, page: int, criterion: int, kind: int) -> str:
    """Sorts the first pages of all criteria and kinds before the second ones."""
    return f"{comparison}_{page:05}_{criterion:05}_{kind}"

"""Batches: rows that are judged together, and outlast this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import orjson

from assay.client import wire
from assay.client.asynchronous.connection import AsyncConnection, AsyncPages
from assay.client.cases import ROW_FIELDS, Criteria, Judge, Rows, named, row_lines
from assay.client.ordered import async_iterate, async_sleep
from assay.client.progress import show_progress, show_rows_read
from assay.client.results import EvaluationResult
from assay.domain.batches import ENDED
from assay.errors import ServiceError, to_error

POLL_S, POLL_S_MAX, POLL_GROWTH = 0.1, 2.0, 1.5


class AsyncBatchHandle:
    """A batch as it stood when it was read last; `raw` is the response of the service."""

    def __init__(self, connection: AsyncConnection, document: Mapping[str, Any]) -> None:
        self._connection = connection
        self.raw = document
        self.id: str = document["id"]
        self._path = wire.path_of("batches", self.id)

    @property
    def status(self) -> str:
        """`open`, `running`, `completed`, `decided`, `cancelled` or `failed`."""
        return str(self.raw["status"])

    @property
    def ended(self) -> bool:
        """Whether its results are final."""
        return self.status in ENDED

    @property
    def passed(self) -> bool | None:
        """Whether all gates are passed; None if one is undecided, or if there is none."""
        verdicts = {gate["verdict"] for gate in self.raw.get("gates") or ()}
        if "failed" in verdicts:
            return False
        return True if verdicts == {"passed"} else None

    @property
    def score(self) -> float | None:
        """The mean score of the rows that are scored so far."""
        return self.raw["score"]  # type: ignore[no-any-return]

    @property
    def pass_rate(self) -> float | None:
        """The share of the rows that passed so far."""
        return self.raw["pass_rate"]  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        counts = self.raw["counts"]
        done = f"{counts['total'] - counts['pending']} of {counts['total']} rows"
        return f"<batch {self.id}: {self.status}, {done}>"

    async def refresh(self) -> Self:
        """Read the batch again."""
        self.raw = await self._connection.get(self._path)
        return self

    async def follow(self) -> AsyncIterator[Self]:
        """The batch as it proceeds, until it has ended."""
        pause_s = POLL_S
        while True:
            yield await self.refresh()
            if self.ended:
                return
            await async_sleep(pause_s)
            pause_s = min(pause_s * POLL_GROWTH, POLL_S_MAX)

    async def wait(self, *, progress: bool = False, timeout_s: float | None = None) -> Self:
        """Wait for the end; show the `progress` on stderr. Raises `TimedOut`; the batch goes on."""
        started_s = time.monotonic()
        async for batch in self.follow():
            if progress:
                show_progress(batch.raw, ended=batch.ended)
            is_late = timeout_s is not None and time.monotonic() - started_s > timeout_s
            if is_late and not batch.ended:
                raise to_error("no_answer", f"The batch has not ended within {timeout_s} s.")
        return self

    async def results(self, **filters: Any) -> AsyncIterator[EvaluationResult]:
        """The results in the order of the rows, filtered by `criterion`, `status`, `passed`, …"""
        cursor, failures, complete = 0, 0, False
        policy = self._connection.retry_policy
        while not complete:
            query, lines = wire.given(**filters, cursor=cursor), wire.LineReader()
            try:
                async with self._connection.stream(
                    "GET",
                    f"{self._path}/results",
                    params=query,
                    headers={"Accept": wire.NDJSON},
                    timeout=wire.STREAM_TIMEOUT_S,
                ) as response:
                    async for chunk in response.aiter_bytes():
                        for line in lines.lines(chunk):
                            document = orjson.loads(line)
                            cursor, failures = int(document["item_index"]) + 1, 0
                            yield EvaluationResult.from_document(document)
                complete = True
            except ServiceError as error:
                wait_s = policy.wait_s(error, failures, repeatable=True)
                failures += 1
                if wait_s is None or failures >= policy.attempts_max:
                    raise
                await async_sleep(wait_s)

    async def compare(
        self, base: AsyncBatchHandle | str, *, limit: int = 20, progress: bool = False
    ) -> dict[str, Any]:
        """What changed from `base` to this one, with `limit` rows of each kind and criterion.

        With `progress`, stderr shows how many rows are read.
        """
        query = {"base": base if isinstance(base, str) else base.id, "limit": limit}
        path = f"{self._path}/compare"
        # Each request waits for a while; only a comparison has criteria.
        while "criteria" not in (found := await self._connection.get(path, **query)):
            if progress:
                show_rows_read(found)
        return found

    async def cancel(self) -> Self:
        """Cancel the rows that wait; rows in flight still get their result."""
        self.raw = await self._connection.post(f"{self._path}/cancel")
        return self

    async def retry(self) -> AsyncBatchHandle:
        """Judge the rows without a complete result again, as a batch of its own."""
        made = await self._connection.post(f"{self._path}/retry")
        return AsyncBatchHandle(self._connection, made)

    async def delete(self) -> None:
        """Remove the batch and its results."""
        await self._connection.request("DELETE", self._path)


class AsyncBatchesResource:
    """`client.batches`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        criteria: Criteria | None = None,
        *,
        rows: Rows | None = None,
        dataset: str | None = None,
        evaluator: str | None = None,
        judge: Judge | None = None,
        name: str | None = None,
        gates: Sequence[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> AsyncBatchHandle:
        """Start a batch over rows, or over a stored `dataset`.

        A row is a case; one without an `id` is named by its number. If a row is invalid, nothing
        is judged. `fields` are further fields of the request, such as `generate` or `webhook`.
        Raises `ServiceError`.
        """
        made = await self._connection.post(
            "/v1/batches",
            criteria=named(criteria),
            dataset=dataset,
            evaluator=evaluator,
            judge=judge,
            name=name,
            gates=gates,
            **fields,
        )
        batch = AsyncBatchHandle(self._connection, made)
        return batch if rows is None else await self._filled(batch, rows)

    async def _filled(self, batch: AsyncBatchHandle, rows: Rows) -> AsyncBatchHandle:
        """The batch, started with the rows; it is removed if that fails."""
        path = wire.path_of("batches", batch.id)
        try:
            wire.refuse_bad_rows(
                await self._connection.request(
                    "PUT",
                    f"{path}/items",
                    content=lambda: async_iterate(row_lines(rows, ROW_FIELDS, numbered=True)),
                    headers={"Content-Type": wire.NDJSON},
                    repeatable=not isinstance(rows, Iterator),
                )
            )
            batch.raw = await self._connection.post(f"{path}/start")
        except Exception as error:
            # After a lost connection it may have started.
            if not isinstance(error, ServiceError) or error.code not in wire.LOST:
                with suppress(ServiceError):
                    await batch.delete()
            raise
        return batch

    async def get(self, batch_id: str) -> AsyncBatchHandle:
        """A batch as it stands; raises `NotFound`."""
        found = await self._connection.get(wire.path_of("batches", batch_id))
        return AsyncBatchHandle(self._connection, found)

    def list(self, **query: Any) -> AsyncPages[AsyncBatchHandle]:
        """All batches, newest first."""
        return AsyncPages(
            self._connection,
            "/v1/batches",
            query,
            lambda document: AsyncBatchHandle(self._connection, document),
        )

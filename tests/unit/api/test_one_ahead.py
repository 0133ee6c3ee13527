"""Rows of an upload are read and checked one chunk ahead of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from assay.api.batches.items import one_ahead


class Source:
    """Yields chunks; `made` says how many it has made, and the last one may fail or never come."""

    def __init__(self, count: int, end: str = "") -> None:
        self.count = count
        self.end = end
        self.made = 0
        self.closed = False

    async def chunks(self) -> AsyncIterator[tuple[list[int], list[int]]]:
        try:
            for number in range(self.count):
                await asyncio.sleep(0)
                self.made += 1
                yield [number], []
            if self.end == "fails":
                raise ConnectionError("the caller has gone")
            if self.end == "waits":
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_the_next_chunk_is_made_while_one_is_stored():
    """In order, and never more than one ahead."""
    source = Source(5)
    found = []
    async for rows, _ in one_ahead(source.chunks()):
        await asyncio.sleep(0.01)
        found += rows
        assert source.made == min(len(found) + 1, source.count)
    assert found == [0, 1, 2, 3, 4]


async def test_what_arrived_before_a_fault_is_stored():
    """The fault comes in its turn, after the chunks before it."""
    ahead = one_ahead(Source(3, "fails").chunks())
    assert [(await anext(ahead))[0] for _ in range(3)] == [[0], [1], [2]]
    with pytest.raises(ConnectionError):
        await anext(ahead)


@pytest.mark.parametrize("end", ["", "fails", "waits"])
async def test_an_upload_that_ends_early_leaves_no_task(end):
    """Whether the next chunk is still being read, is ready, or has failed."""
    before = asyncio.all_tasks()
    source = Source(1, end)
    async with aclosing(source.chunks()) as chunks, aclosing(one_ahead(chunks)) as ahead:
        assert await anext(ahead) == ([0], [])
        await asyncio.sleep(0.01)
    assert source.closed
    assert asyncio.all_tasks() == before


async def test_an_empty_upload_has_no_chunks():
    """Nothing is yielded, and nothing is waited for."""
    assert [chunk async for chunk in one_ahead(Source(0).chunks())] == []

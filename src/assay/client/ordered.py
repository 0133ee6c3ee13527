"""Bounded concurrency over a stream of any length, with results in the order of the input."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

Item = TypeVar("Item")
T = TypeVar("T")

WINDOW_PER_SLOT = 4
"""Items held per concurrent one: a slow item delays the results behind it, not the work."""


async def for_each_in_order(
    items: AsyncGenerator[Item, None],
    work: Callable[[Item], Awaitable[T]],
    take: Callable[[T], None],
    concurrency: int,
) -> None:
    """Do `work` on each item, `concurrency` at a time, and `take` the results in input order.

    The window bounds memory for any number of items. After a cancellation, or an error in `work`
    or `take`, results that are finished are still taken, and the rest is cancelled.
    """
    started: asyncio.Queue[asyncio.Task[T] | None] = asyncio.Queue(concurrency * WINDOW_PER_SLOT)
    pending: list[asyncio.Task[T]] = []
    feeder = asyncio.create_task(_feed(items, work, started, concurrency))
    try:
        while (task := await started.get()) is not None:
            pending = [task]
            await asyncio.wait(pending)
            pending = []
            take(task.result())
        await feeder
    finally:
        feeder.cancel()
        await asyncio.wait([feeder])
        while not started.empty():
            left = started.get_nowait()
            if left is not None:
                pending.append(left)
        await _take_finished(pending, take)


async def _feed(
    items: AsyncGenerator[Item, None],
    work: Callable[[Item], Awaitable[T]],
    started: asyncio.Queue[asyncio.Task[T] | None],
    concurrency: int,
) -> None:
    slots = asyncio.Semaphore(concurrency)

    async def in_slot(item: Item) -> T:
        async with slots:
            return await work(item)

    try:
        async with contextlib.aclosing(items):
            async for item in items:
                task = asyncio.create_task(in_slot(item))
                try:
                    await started.put(task)
                except asyncio.CancelledError:
                    task.cancel()
                    raise
    finally:
        if not _is_cancelling():
            await started.put(None)


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _take_finished(tasks: list[asyncio.Task[T]], take: Callable[[T], None]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and task.exception() is None:
            take(task.result())

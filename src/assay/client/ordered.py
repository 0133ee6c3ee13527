"""Bounded concurrency over a stream of any length, with results in the order of the input."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
T = TypeVar("T")

WINDOW_PER_SLOT = 4
"""Items held per concurrent one: a slow item delays the results behind it, not the work."""

NO_CONCURRENCY = "concurrency must be at least 1"


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


async def async_in_order(
    items: Iterable[Item], work: Callable[[Item], Awaitable[T]], concurrency: int
) -> AsyncGenerator[T, None]:
    """The results of `work` on each item, in input order, `concurrency` at a time.

    Raises `ValueError` if that is none.
    """
    if concurrency < 1:
        raise ValueError(NO_CONCURRENCY)
    slots = asyncio.Semaphore(concurrency)
    window: deque[asyncio.Task[T]] = deque()

    async def in_slot(item: Item) -> T:
        async with slots:
            return await work(item)

    try:
        for item in items:
            window.append(asyncio.create_task(in_slot(item)))
            if len(window) >= concurrency * WINDOW_PER_SLOT:
                yield await window.popleft()
        while window:
            yield await window.popleft()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


def in_order(
    items: Iterable[Item], work: Callable[[Item], T], concurrency: int
) -> Generator[T, None, None]:
    """As `async_in_order`, in threads."""
    if concurrency < 1:
        raise ValueError(NO_CONCURRENCY)
    window: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(concurrency, "assay")
    interrupted = False
    try:
        for item in items:
            window.append(pool.submit(work, item))
            if len(window) >= concurrency * WINDOW_PER_SLOT:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        # Whoever interrupts does not wait for the calls in flight, which may take a minute.
        pool.shutdown(wait=not interrupted, cancel_futures=True)


async def async_iterate(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items, for what takes an async iterable."""
    for item in items:
        yield item


def iterate(items: Iterable[Item]) -> Iterator[Item]:
    """The items."""
    return iter(items)


async def async_sleep(seconds: float) -> None:
    """Wait, and let others work."""
    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def async_call(function: Callable[[], T]) -> T:
    """The result of a function that blocks, from a thread of its own."""
    return await asyncio.to_thread(function)


def call(function: Callable[[], T]) -> T:
    """The result of a function that blocks."""
    return function()

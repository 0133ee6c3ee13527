"""The time that a call to Redis may take, where the event loop itself is late."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from assay.redis.time_budget import TimeBudget


async def test_an_answer_that_came_while_the_loop_was_stalled_counts() -> None:
    """The reply lay in the socket before the time was over: the store is well."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    threading.Timer(0.02, theirs.sendall, (b"+OK",)).start()
    asyncio.get_running_loop().call_soon(time.sleep, 0.3)
    async with TimeBudget(0.05):
        assert await reader.read(3) == b"+OK"
    writer.close()
    theirs.close()


async def test_silence_ends_with_the_budget() -> None:
    """Once where the loop is awake; at most once more where it was stalled."""
    with pytest.raises(TimeoutError):
        async with TimeBudget(0.02):
            await asyncio.Event().wait()
    asyncio.get_running_loop().call_soon(time.sleep, 0.1)
    with pytest.raises(TimeoutError):
        async with TimeBudget(0.02):
            await asyncio.Event().wait()

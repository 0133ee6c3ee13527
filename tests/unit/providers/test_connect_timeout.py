"""The clock of a connection counts only the time in which the event loop could look at it."""

from __future__ import annotations

import asyncio
import time

import pytest

from assay.providers.connect_timeout import ConnectTimeout


async def test_a_connection_that_never_opens_expires() -> None:
    """The timeout ends what waits once the limit has passed."""

    async def connect() -> None:
        async with asyncio.timeout(None) as timeout:
            ConnectTimeout(timeout, 0.1).start()
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await connect()


async def test_a_busy_loop_does_not_expire_a_connection() -> None:
    """Ten times the limit passes while the loop is held: that is one tick of twenty."""
    async with asyncio.timeout(None) as timeout:
        connect_timeout = ConnectTimeout(timeout, 0.1)
        connect_timeout.start()
        time.sleep(1)  # noqa: ASYNC251 # the loop is to be held
        await asyncio.sleep(0)
        connect_timeout.stop()
    assert not timeout.expired()


async def test_an_open_connection_is_no_longer_bounded() -> None:
    """Once stopped, the clock ends nothing."""
    async with asyncio.timeout(None) as timeout:
        connect_timeout = ConnectTimeout(timeout, 0.05)
        connect_timeout.start()
        connect_timeout.stop()
        await asyncio.sleep(0.15)
    assert not timeout.expired()

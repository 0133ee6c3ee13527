"""New connections are taken many at a time, however slowly the event loop turns."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import uvloop
from starlette.applications import Starlette

from assay.http.server import ACCEPTED_AT_ONCE, listen, serving

CONNECTIONS = 8 * ACCEPTED_AT_ONCE


async def turns_until_accepted() -> int:
    """How often the loop turns until it has taken all the connections that wait."""
    listener = listen("127.0.0.1", 0)
    async with serving(Starlette(), listener) as server:
        address = listener.getsockname()
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection(address))
            turns = 0
            while len(server.server_state.connections) < CONNECTIONS:
                turns += 1
                await asyncio.sleep(0)
        return turns


def test_a_burst_of_connections_waits_for_few_turns_of_the_loop():
    """One a turn would make the last of hundreds wait for seconds on a busy loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns_until_accepted()) <= 3 * CONNECTIONS // ACCEPTED_AT_ONCE

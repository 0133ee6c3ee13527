"""Ports for the servers that tests start."""

from __future__ import annotations

import contextlib
import random
import socket

PORTS = range(10_000, 22_000)
"""Below those that connections go out from: one stays free while its server restarts."""
BUS_OFFSET = 10_000
"""Redis serves its cluster bus this far above its own port."""


def free_port() -> int:
    """A port of loopback that is free now, and the one for a cluster bus above it."""
    chance = random.SystemRandom()  # the seeded one draws the same ports in every worker
    while True:
        port = chance.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as own, socket.socket() as bus:
            for listener, number in ((own, port), (bus, port + BUS_OFFSET)):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", number))
            return port

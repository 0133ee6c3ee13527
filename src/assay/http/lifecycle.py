"""Where a process stands between start and exit, and how much work it holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["starting", "serving", "leaving", "draining"]


@dataclass(slots=True)
class Lifecycle:
    """The phases of a process, in order; each is entered once.

    `leaving` fails readiness while work is still taken, so that the balancer can turn away, and
    closes each connection with its next answer;
    `draining` refuses new work and finishes what is in flight.
    """

    phase: Phase = "starting"

    @property
    def ready(self) -> bool:
        """Whether traffic should be sent here."""
        return self.phase == "serving"

    @property
    def leaves(self) -> bool:
        """Whether the process is about to exit: who is answered should come back elsewhere."""
        return self.phase in ("leaving", "draining")

    @property
    def admits(self) -> bool:
        """Whether work that arrives is taken."""
        return self.phase != "draining"


@dataclass(slots=True)
class Load:
    """The requests in flight, and the bytes of their bodies."""

    requests: int = 0
    body_bytes: int = 0
    body_bytes_most: int = 0
    """The most since whoever reads this set it back."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def enter(self) -> None:
        self.requests += 1
        self.idle.clear()

    def take(self, body_bytes: int) -> None:
        self.body_bytes += body_bytes
        self.body_bytes_most = max(self.body_bytes_most, self.body_bytes)

    def leave(self, body_bytes: int) -> None:
        self.requests -= 1
        self.body_bytes -= body_bytes
        if self.requests == 0:
            self.idle.set()

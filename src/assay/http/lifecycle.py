"""The phases of a process from start to exit, and the work that it holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["starting", "serving", "leaving", "draining"]


@dataclass(slots=True)
class Lifecycle:
    """The phases of a process, in order; each is entered once.

    `leaving` fails readiness but still accepts work, so that the load balancer has time to react,
    and closes each connection with its next response. `draining` refuses new work and finishes
    what is in flight.
    """

    phase: Phase = "starting"

    @property
    def ready(self) -> bool:
        """Whether traffic should be sent here."""
        return self.phase == "serving"

    @property
    def exiting(self) -> bool:
        """Whether the process is about to exit, and clients should reconnect elsewhere."""
        return self.phase in ("leaving", "draining")

    @property
    def accepting(self) -> bool:
        """Whether new work is accepted."""
        return self.phase != "draining"


@dataclass(slots=True)
class Load:
    """The requests in flight, and the memory reserved for their bodies."""

    requests: int = 0
    body_bytes: int = 0
    body_bytes_peak: int = 0
    """High-water mark since the last `take_peak`."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def enter(self) -> None:
        self.requests += 1
        self.idle.clear()

    def reserve(self, body_bytes: int) -> None:
        self.body_bytes += body_bytes
        self.body_bytes_peak = max(self.body_bytes_peak, self.body_bytes)

    def leave(self, body_bytes: int) -> None:
        self.requests -= 1
        self.body_bytes -= body_bytes
        if self.requests == 0:
            self.idle.set()

    def take_peak(self) -> int:
        """The high-water mark; the next one starts from the present load."""
        peak, self.body_bytes_peak = self.body_bytes_peak, self.body_bytes
        return peak

"""The bounds of one HTTP process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one process; sizes in bytes, times in the unit of their name."""

    max_body_bytes: int = 2_097_152
    body_timeout_s: float = 10.0
    request_timeout_ms: int = 30_000
    default_timeout_ms: int = 20_000
    inflight_max: int = 1_000
    inflight_bytes_max: int = 512 * 1_048_576
    drain_delay_s: float = 5.0

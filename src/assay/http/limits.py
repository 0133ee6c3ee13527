"""The bounds of one HTTP process."""

from __future__ import annotations

from dataclasses import dataclass

from assay.domain.targets import AllowedHosts


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one process, with no defaults: those stand in the settings."""

    max_body_bytes: int
    body_timeout_s: float
    request_timeout_ms: int
    default_timeout_ms: int
    inflight_max: int
    inflight_bytes_max: int
    drain_delay_s: float
    image_hosts: AllowedHosts

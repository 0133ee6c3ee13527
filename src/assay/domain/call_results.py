"""What a call to a provider says about the provider, whatever came of the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProbeResult = Literal["success", "failure", "none"]
"""What a probe showed about a provider; after `none` another probe takes its place."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call says about its provider: to a probe, and to the window of a circuit breaker."""

    probe: ProbeResult
    calls: int = 0
    failed: int = 0
    slow: int = 0


SUCCESS = CallResult("success", calls=1)
SLOW = CallResult("failure", calls=1, slow=1)
FAILURE = CallResult("failure", calls=1, failed=1)
SILENT = CallResult("failure", calls=1, failed=1, slow=1)
ANSWERED = CallResult("success")
"""The provider is there although it refused the call, with a 429 for example."""
NO_RESULT = CallResult("none")
"""Nothing is known about the provider."""

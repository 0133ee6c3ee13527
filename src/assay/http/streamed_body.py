"""Bodies that are read as a stream: of any length, in bounded memory, at a minimum rate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from starlette.types import Message, Receive, Scope

from assay.http.lifecycle import Load
from assay.http.limits import Limits
from assay.http.problems import CLOSE, Problem, ProblemError

StreamedRoute = tuple[str, re.Pattern[str]]
"""The method and the path of a resource that reads its body as a stream."""
RESERVED_BYTES = 5 * 1_048_576
"""Memory reserved for one such body: a row, two chunks of rows, and buffers."""
BYTES_PER_S_MIN = 8_192
"""A slower sender is dropped; it would hold a connection and its buffers for hours."""


def is_streamed(scope: Scope, routes: Sequence[StreamedRoute]) -> bool:
    """Whether the body limit does not apply to this request: its resource bounds what it reads."""
    asked, path = scope["method"], scope["path"]
    return any(pattern.fullmatch(path) for method, pattern in routes if method == asked)


class StreamedBody:
    """Receives one body; the sender has `body_timeout_s`, and earns more time by sending.

    Only time spent waiting for the sender counts, not time that the resource takes.
    """

    def __init__(self, receive: Receive, limits: Limits, load: Load) -> None:
        self._receive = receive
        self._left_s = limits.body_timeout_s
        self._left_s_max = limits.body_timeout_s
        self.complete = False
        """Whether the whole body has arrived."""
        self.reserved = RESERVED_BYTES
        self.received = 0
        load.reserve(self.reserved)

    @property
    def broken(self) -> bool:
        """Whether bytes are still to come that will not be read."""
        return not self.complete

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        try:
            async with asyncio.timeout(max(self._left_s, 0.001)):
                message = await self._receive()
        except TimeoutError:
            detail = f"Send the body at {BYTES_PER_S_MIN} bytes per second or faster."
            raise ProblemError(Problem("request_timeout", detail, headers=CLOSE)) from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.received += size
            earned_s = size / BYTES_PER_S_MIN - (loop.time() - since_s)
            self._left_s = min(self._left_s + earned_s, self._left_s_max)
            self.complete = not message.get("more_body", False)
        return message

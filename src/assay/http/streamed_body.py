"""Bodies that are read as they come: of any length, in bounded memory, and not at a trickle."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from starlette.types import Message, Receive, Scope

from assay.http.lifecycle import Load
from assay.http.limits import Limits
from assay.http.problems import Problem, ProblemError

StreamedRoute = tuple[str, re.Pattern[str]]
"""The method and the path of a resource that reads its body as it comes."""
RESERVED_BYTES = 4 * 1_048_576
"""What one such body holds of the memory set aside: a row, a piece of rows, and its buffers."""
BYTES_PER_S_MIN = 8_192
"""A slower sender is dropped: it would hold a connection and its buffers for hours."""


def is_streamed(scope: Scope, routes: Sequence[StreamedRoute]) -> bool:
    """Whether the body limit does not apply to this request: its resource bounds what it reads."""
    return any(
        scope["method"] == method and path.fullmatch(scope["path"]) for method, path in routes
    )


class StreamedBody:
    """Receives one body; the sender has `body_timeout_s`, and more as it sends more.

    Only the time spent waiting for the sender counts: while the store is slow, nobody is late.
    """

    def __init__(self, receive: Receive, limits: Limits, load: Load) -> None:
        self._receive = receive
        self._left_s = limits.body_timeout_s
        self._left_s_max = limits.body_timeout_s
        self.complete = False
        """Whether all of it has come."""
        self.reserved = RESERVED_BYTES
        self.received = 0
        load.body_bytes += self.reserved

    @property
    def broken(self) -> bool:
        """Whether there are bytes to come that nobody will read."""
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
            detail = f"The body came slower than {BYTES_PER_S_MIN} bytes a second."
            close = (("connection", "close"),)
            raise ProblemError(Problem("request_timeout", detail, headers=close)) from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.received += size
            earned_s = size / BYTES_PER_S_MIN - (loop.time() - since_s)
            self._left_s = min(self._left_s + earned_s, self._left_s_max)
            self.complete = not message.get("more_body", False)
        return message

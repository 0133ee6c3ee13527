"""Bounds what comes before a request: its head's size, and the time it may take to arrive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from assay.http.disconnect import ON_LOST
from assay.http.problems import Problem, render
from assay.http.request_id import new_request_id

HEAD_BYTES_MAX = 65_536
"""Request line and headers; the parser itself knows no limit."""
HEAD_TIMEOUT_S = 10.0
"""From a request's first byte to the end of its headers."""
HEAD_RECEIVE_BYTES = 8 * 1_024
"""Read at once of a head and what follows it: all of a small request. More, times every connection
of a flood, would come in before anyone is asked whether the bodies are wanted."""
BODY_RECEIVE_BYTES = 256 * 1_024
"""Read at once of a body that is wanted: what a read costs is paid four times a megabyte."""
UNWANTED_S = 10.0
"""From an answer on for which a body came too late, to the end of that body."""
WAITING_MAX = 1
"""Whole requests that wait for the answer to another one, before no more are read."""

_received = memoryview(bytearray(BODY_RECEIVE_BYTES))
"""Shared by all connections: what one has read is taken out before another one reads."""
_head_received = _received[:HEAD_RECEIVE_BYTES]

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_BEGUN = re.compile(rb"\r(\n(\r|u(p(g(r(a(d(e)?)?)?)?)?)?)?)?\Z", re.IGNORECASE)
"""The end of a head's part in which an offer, or the head's own end, may have begun."""


def without_upgrade(data: bytes) -> bytes:
    """The head of a request without its offer to speak another protocol, which we may ignore.

    Clients that would rather speak HTTP/2 offer it with their first request; the parser would
    take the body for the other protocol and drop it.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade-ignored:", head) + end + rest


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """A head's part, and of its end what can only be understood with what follows."""
    begun = _BEGUN.search(data) if b"\r\n\r\n" not in data else None
    end = begun.start() if begun else len(data)
    return data[:end], data[end:]


class BoundedConnection(HttpToolsProtocol):
    """Closes a connection that stays mute, or whose request head is too long or too slow.

    A body is read when the application asks for more of it, one read at a time.
    """

    _head_bytes = 0
    _held = b""
    """What was read of a head and waits for what follows it."""
    _timer: asyncio.TimerHandle | None = None
    in_head = True
    """Whether what comes next is a head, and not the rest of a body."""

    def __init__(self, *, unwanted_s: float = UNWANTED_S, **settings: Any) -> None:
        super().__init__(**settings)
        self._unwanted_s = unwanted_s

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._on_lost: set[Callable[[], None]] = set()
        self._earlier: list[Any] = []
        # The server's own timer only starts after an answer: the mute would stay for ever.
        self._timer = self.loop.call_later(self.timeout_keep_alive, transport.close)

    def data_received(self, data: bytes | memoryview) -> None:
        began_in_head = self.in_head
        if began_in_head:
            data, self._held = _cut(without_upgrade(self._held + data))
        super().data_received(data)  # type: ignore[arg-type]  # it takes any buffer
        if not (began_in_head and self.in_head) or self._timer is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The request head is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][ON_LOST] = self._on_lost
        self._stop_timer()
        self._head_bytes = 0
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self.in_head = False
        earlier: Any = self.cycle
        super().on_headers_complete()
        if earlier and not earlier.response_complete:
            self._earlier = [
                each for each in (*self._earlier, earlier) if not each.response_complete
            ]

    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            # The server would copy it into a buffer, and out of it again.
            cycle.body = body
            cycle.message_event.set()
        else:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)  # small chunks come many at once
            super().on_body(body)
        self.flow.pause_reading()

    def on_message_complete(self) -> None:
        self.in_head = True
        self._stop_timer()
        super().on_message_complete()
        if len(self.pipeline) <= WAITING_MAX:
            self.flow.resume_reading()  # or nobody would notice that the caller has gone
        if self.cycle.response_complete:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def on_response_complete(self) -> None:
        answered = self.cycle.response_complete  # and not one before it, of several in a row
        if answered:
            self.cycle.body = bytearray()  # what came of a body that was refused
        super().on_response_complete()
        if answered and not self.in_head and not self.transport.is_closing():
            self._timer = self.loop.call_later(self._unwanted_s, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """Tell what is wrong with the HTTP itself in the form of every other problem."""
        request_id = new_request_id()
        headers, body = render(Problem("malformed_http", msg), request_id)
        headers += [("x-request-id", request_id), ("connection", "close")]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode() + body)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        for cycle in self._earlier:
            cycle.disconnected = True  # the server tells the last request only
        for tell in tuple(self._on_lost):
            tell()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.send_400_response("The request head took too long.")


class PacedConnection(asyncio.BufferedProtocol):
    """Reads for a `BoundedConnection`: little of a head, much of a body that is wanted.

    The server's own protocol cannot do so itself: the event loop reads for it as much as there is.
    """

    def __init__(self, **settings: Any) -> None:
        self._http = BoundedConnection(**settings)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 # the protocol's shape
        return _head_received if self._http.in_head else _received

    def buffer_updated(self, nbytes: int) -> None:
        # The parser copies what it keeps.
        self._http.data_received(_received[:nbytes])

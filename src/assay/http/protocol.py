"""Bounds the head of a request in size and time, and paces how bodies are read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from assay.http.admission import linger
from assay.http.disconnect import ON_LOST
from assay.http.problems import CLOSE, Problem, render
from assay.http.request_id import new_request_id, send_problem

HEAD_BYTES_MAX = 65_536
"""Request line and headers; the parser itself has no limit."""
HEAD_TIMEOUT_S = 10.0
"""From a request's first byte to the end of its headers."""
HEAD_RECEIVE_BYTES = 8 * 1_024
"""Read at once of a head and what follows it: all of a small request. More would fill the memory in
a flood of connections, before admission decides whether their bodies are wanted."""
BODY_RECEIVE_BYTES = 256 * 1_024
"""Read at once of a body that is wanted: four reads per megabyte."""
UNWANTED_S = 10.0
"""How long the rest of a body may take whose response is already sent."""
WRITE_S = 30.0
"""How long a reader may take for the next part of a response that waits for it."""
WRITE_BYTES_MIN = 32 * 1_024
"""That part: a slower reader is dropped, since it holds a place and memory."""
WAITING_MAX = 1
"""Whole pipelined requests that may wait; then no more are read."""

_received = memoryview(bytearray(BODY_RECEIVE_BYTES))
"""Shared by all connections: each copies out what it has read before another one reads."""
_head_received = _received[:HEAD_RECEIVE_BYTES]

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_BEGUN = re.compile(rb"\r(\n(\r|u(p(g(r(a(d(e)?)?)?)?)?)?)?)?\Z", re.IGNORECASE)
"""The end of a partial head in which an upgrade offer, or the head's own end, may have begun."""


def without_upgrade(data: bytes) -> bytes:
    """The head of a request without an offer to upgrade the protocol, which a server may ignore.

    Clients that prefer HTTP/2 offer it with their first request; the parser would take the body
    for the other protocol and drop it.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade-ignored:", head) + end + rest


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """A partial head, cut before an end that only the next bytes can explain."""
    begun = _BEGUN.search(data) if b"\r\n\r\n" not in data else None
    end = begun.start() if begun else len(data)
    return data[:end], data[end:]


def malformed(detail: str) -> tuple[Problem, str]:
    """The problem of a request that is not HTTP, and the id that such a request gets."""
    request_id = new_request_id()
    headers = (*CLOSE, ("x-request-id", request_id))
    return Problem("malformed_http", detail, headers=headers), request_id


def refusing(detail: str) -> ASGIApp:
    """An application that answers one request as malformed, in its turn."""

    async def refuse(_: Scope, receive: Receive, send: Send) -> None:
        await send_problem(linger(receive, send), *malformed(detail))

    return refuse


class BoundedConnection(HttpToolsProtocol):
    """Closes a connection that sends nothing, or whose request head is too long or too slow.

    A body is read when the application asks for more of it, one read at a time.
    """

    _head_bytes = 0
    _held = b""
    """The end of a partial head that waits for the next bytes."""
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    in_head = True
    """Whether a head comes next, and not the rest of a body."""
    _framing_bytes = 0
    """Read since the last byte of a body: extensions of chunks, and trailers."""
    _deaf = False
    """Whether what follows is ignored: the parser has lost the beginning of the next request."""
    _malformed = ""
    """What is wrong with a head that came before the requests in front of it were answered."""

    def __init__(
        self, *, unwanted_s: float = UNWANTED_S, write_s: float = WRITE_S, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._unwanted_s = unwanted_s
        self._write_s = write_s

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._on_lost: set[Callable[[], None]] = set()
        self._earlier: list[Any] = []
        # The server's own timer only starts after a response: a silent client would stay for ever.
        self._timer = self.loop.call_later(self.timeout_keep_alive, self._close)

    def data_received(self, data: bytes | memoryview) -> None:
        if self._deaf:
            return
        began_in_head = self.in_head
        if began_in_head:
            data, self._held = _cut(without_upgrade(self._held + data))
        else:
            self._framing_bytes += len(data)
        super().data_received(data)  # type: ignore[arg-type]  # it takes any buffer
        if self._framing_bytes > HEAD_BYTES_MAX:
            self._framing_bytes = 0
            self.send_400_response(f"Trailers must have at most {HEAD_BYTES_MAX} bytes.")
        if not (began_in_head and self.in_head) or self._timer is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response(f"The request head must have at most {HEAD_BYTES_MAX} bytes.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][ON_LOST] = self._on_lost
        self._head_bytes = 0
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            super().on_header(name, value)  # what follows the body of a request is no header

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self.in_head = False
        fault = self._fault()
        self.app = refusing(fault) if fault else self.config.loaded_app
        earlier: Any = self.cycle
        super().on_headers_complete()
        if earlier and not earlier.response_complete:
            self._earlier = [
                cycle for cycle in (*self._earlier, earlier) if not cycle.response_complete
            ]

    def _fault(self) -> str:
        """What is wrong with a whole head; the parser itself accepts it."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            return "Send exactly one Host header."
        if self.parser.should_upgrade():
            # The offers of other heads are hidden from the parser. Here it drops the body.
            self._deaf = True
            return "Do not offer an upgrade in a pipelined request."
        return ""

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            # The server would copy it into a buffer and out again.
            cycle.body = body
            cycle.message_event.set()
        else:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)  # several small chunks of one read
            super().on_body(body)
        self.flow.pause_reading()

    def on_message_complete(self) -> None:
        self.in_head = True
        self._stop_timer()
        super().on_message_complete()
        if len(self.pipeline) <= WAITING_MAX:
            self.flow.resume_reading()  # otherwise the end of the connection goes unnoticed
        if self.cycle.response_complete:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self._close)

    def on_response_complete(self) -> None:
        newest = self.cycle.response_complete  # and not that of an earlier, pipelined request
        if newest:
            self.cycle.body = bytearray()  # the part of a refused body that has arrived
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if newest and self._malformed:
            self.send_400_response(self._malformed)
        elif newest and self.in_head and self._timer is not None:
            self._await_head()
        elif newest and not self.in_head:
            self._timer = self.loop.call_later(self._unwanted_s, self._close)

    def send_400_response(self, msg: str) -> None:
        """Answer malformed HTTP with a problem like any other, after the requests before it."""
        if self.in_head and self._is_answering:
            self._stop_timer()
            self._deaf, self._malformed = True, msg
            return
        headers, body = render(*malformed(msg))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode() + body)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _await_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self._write_s, self._check_reader, waiting)

    def _check_reader(self, waiting: int) -> None:
        # While it waits, nothing is added to the buffer.
        if waiting - self.transport.get_write_buffer_size() < WRITE_BYTES_MIN:
            self.transport.abort()
        else:
            self._await_reader()

    def _close(self) -> None:
        """Close the connection; what is not read by now is dropped with it."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_write_timer()
        super().connection_lost(exc)
        for cycle in self._earlier:
            cycle.disconnected = True  # the server marks the last request only
        for callback in tuple(self._on_lost):
            callback()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _is_answering(self) -> bool:
        """Whether a request that has arrived is not answered yet."""
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def _too_slow(self) -> None:
        if self.in_head and self._is_answering:
            self._await_head()  # the rest may have come: no more is read while requests wait
        elif not self.transport.is_closing():
            self.send_400_response(f"The request head must arrive within {HEAD_TIMEOUT_S:g} s.")


class PacedConnection(asyncio.BufferedProtocol):
    """Reads for a `BoundedConnection`: little of a head, much of a body that is wanted.

    The server's own protocol cannot bound its reads: the event loop reads all there is for it.
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

"""Admission: no request while draining, and only as many requests and bytes as the limits allow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import ExitStack

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.domain.events import RequestShed
from assay.domain.ports import EventSink
from assay.http.lifecycle import Lifecycle, Load
from assay.http.limits import Limits
from assay.http.problems import CLOSE, Problem, ProblemError
from assay.http.request_id import send_problem
from assay.http.streamed_body import RESERVED_BYTES, StreamedBody, StreamedRoute, is_streamed

LARGE_RESPONSE_BYTES = 64 * 1_024
"""What the server buffers before it makes a response wait."""
RAW_CLOSE = (b"connection", b"close")
MEMORY_FULL = "The bodies in flight fill the memory reserved for them. Retry later."
LINGER_BYTES_MAX = 16 * 1_048_576
LINGER_S = 2.0
"""How much of a refused body is read and discarded. To close a connection with unread bytes resets
it, and the caller would lose the response that says why."""


class Admission:
    """Counts the requests and body bytes in flight, and refuses requests beyond the limits."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        lifecycle: Lifecycle,
        load: Load,
        events: EventSink,
        streamed_routes: Sequence[StreamedRoute] = (),
    ) -> None:
        self._app = app
        self._events = events
        self._limits = limits
        self._lifecycle = lifecycle
        self._load = load
        self._streamed_routes = streamed_routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        streamed = is_streamed(scope, self._streamed_routes)
        declared = declared_bytes(scope)
        problem = self._refusal(declared, streamed=streamed)
        if problem is not None:
            # A kept connection reads and drops the rest of the body by itself.
            closes = declared != 0 and (CLOSE[0] in problem.headers or is_last(scope))
            respond = linger(receive, send) if closes else send
            await send_problem(respond, problem, scope["state"]["request_id"])
            return
        body: CountedBody | StreamedBody
        if streamed:
            body = StreamedBody(receive, self._limits, self._load)
        else:
            body = CountedBody(receive, self._limits, self._load, declared, self._events)
        lingering, written = linger(receive, send), until_written(send, self._load)

        async def send_response(message: Message) -> None:
            # A kept connection would bring its next request to a process that refuses it. To
            # close one with unread bytes resets it, and the response might be lost.
            if self._lifecycle.exiting and body.complete:
                message = closing(message)
            await (lingering if body.broken else written)(message)

        self._load.enter()
        try:
            with ExitStack() as held:
                scope["state"]["held"] = held
                await self._app(scope, body.receive, send_response)
        finally:
            scope["state"]["body_bytes"] = body.received
            self._load.leave(body.reserved)

    def _refusal(self, declared: int | None, *, streamed: bool) -> Problem | None:
        limits = self._limits
        if not self._lifecycle.accepting:
            self._events.emit(RequestShed("draining"))
            detail = "This process is shutting down. Retry the request."
            return Problem("overloaded", detail, headers=CLOSE)
        if declared is not None and declared > limits.max_body_bytes and not streamed:
            return too_large(limits)
        if self._load.requests >= limits.inflight_max:
            self._events.emit(RequestShed("too_many"))
            return Problem("overloaded", "Too many requests are in flight. Retry later.")
        held = RESERVED_BYTES if streamed else held_bytes(declared or 0)
        if self._load.body_bytes + held > limits.inflight_bytes_max:
            self._events.emit(RequestShed("too_large_together"))
            return Problem("overloaded", MEMORY_FULL)
        return None


class CountedBody:
    """Receives one whole body within its byte limit, the shared byte budget and its deadline.

    `reserved` is the body's part of the shared budget: for the declared length from the start, or
    if none is declared, for the bytes received so far.
    """

    def __init__(
        self,
        receive: Receive,
        limits: Limits,
        load: Load,
        declared: int | None,
        events: EventSink,
    ) -> None:
        self._receive = receive
        self._events = events
        self._limits = limits
        self._load = load
        self._declared = declared
        self.complete = declared == 0
        """Whether the whole body has arrived."""
        self.reserved = held_bytes(declared or 0)
        self.received = 0
        self.broken = False
        load.reserve(self.reserved)

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await self._receive_whole()
        except TimeoutError:
            detail = f"The body must arrive within {self._limits.body_timeout_s:g} s."
            raise self._broken(Problem("request_timeout", detail, headers=CLOSE)) from None

    async def _receive_whole(self) -> Message:
        """The whole body in one message, or the message that the caller has gone.

        A body of known length is received into one block. The pieces of many bodies that arrive
        together would lie mixed in memory, and leave holes too small for anything but pieces.
        """
        whole = bytearray(self._declared or 0)
        while not self.complete:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self.complete = not message.get("more_body", False)
            piece = message.get("body", b"")
            start = self.received
            self._count(len(piece))
            whole[start : self.received] = piece
        del whole[self.received :]  # if a server let through less than was declared
        return {"type": "http.request", "body": whole, "more_body": False}

    def _count(self, size: int) -> None:
        self.received += size
        if self.received > self._limits.max_body_bytes:
            raise self._broken(too_large(self._limits))
        if self._declared is not None:
            return
        self.reserved += held_bytes(size)
        self._load.reserve(held_bytes(size))
        if self._load.body_bytes > self._limits.inflight_bytes_max:
            self._events.emit(RequestShed("too_large_together"))
            raise self._broken(Problem("overloaded", MEMORY_FULL, headers=CLOSE))

    def _broken(self, problem: Problem) -> ProblemError:
        self.broken = True
        return ProblemError(problem)


def held_bytes(size: int) -> int:
    """Peak memory of a body of `size` bytes: its text, the parsed values, and prompts."""
    return size * 3 // 2


def declared_bytes(scope: Scope) -> int | None:
    """The body's `Content-Length`; 0 for a request without a body, None for one in chunks."""
    length = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length" and value.isdigit():
            length = int(value)
    return length


def is_last(scope: Scope) -> bool:
    """Whether the caller closes the connection after this request."""
    options = [value.lower() for name, value in scope["headers"] if name == RAW_CLOSE[0]]
    return scope["http_version"] == "1.0" or any(RAW_CLOSE[1] in option for option in options)


def too_large(limits: Limits) -> Problem:
    detail = f"The body must have at most {limits.max_body_bytes} bytes."
    return Problem("body_too_large", detail, headers=CLOSE)


def closing(message: Message) -> Message:
    """The message, with `Connection: close` if it starts a response."""
    if message["type"] != "http.response.start":
        return message
    kept = [header for header in message.get("headers", ()) if header[0] != RAW_CLOSE[0]]
    return {**message, "headers": [*kept, RAW_CLOSE]}


def until_written(send: Send, load: Load) -> Send:
    """A `send` that ends a large response when its reader has taken it.

    Until then the request counts as in flight, and what waits to be written as its memory.
    """

    async def send_written(message: Message) -> None:
        size = len(message.get("body", b""))
        if size < LARGE_RESPONSE_BYTES:
            await send(message)
            return
        load.reserve(size)
        try:
            await send({**message, "more_body": True})
            # The server waits for its buffer before it takes more.
            await send({**message, "body": b""})
        finally:
            load.reserve(-size)

    return send_written


def linger(receive: Receive, send: Send) -> Send:
    """A `send` that reads on for a moment before it ends a response, so that the caller sees it."""

    async def send_lingering(message: Message) -> None:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            await send(message)
            return
        await send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await _discard(receive)
        await send({"type": "http.response.body", "body": b""})

    return send_lingering


async def _discard(receive: Receive) -> None:
    discarded = 0
    while discarded < LINGER_BYTES_MAX:
        message = await receive()
        discarded += len(message.get("body", b""))
        if not message.get("more_body", False):
            return

"""The outermost layer: an id and an event for each request, and a response to every error."""

from __future__ import annotations

import asyncio
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.domain.completion import Caller
from assay.domain.events import ActionTaken, RequestFinished
from assay.domain.faults import internal_fault
from assay.domain.ids import random_hex
from assay.domain.ports import EventSink
from assay.http.audit import audited
from assay.http.problems import CLOSE, INTERNAL, Problem, ProblemError, render

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
CLIENT_CLOSED = 499
"""The status in events of requests whose caller left before the response."""
UNMATCHED = "unmatched"
"""The route in events of requests that match no resource: the path is the caller's own text."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that events name; any other word is the caller's own text."""
SHUTDOWN_PROBLEM = Problem(
    "overloaded",
    "This process shut down before the request was finished. Retry the request.",
    headers=CLOSE,
)


class RequestIdMiddleware:
    """Gives each request an id, and emits an event at its end."""

    def __init__(self, app: ASGIApp, events: EventSink) -> None:
        self._app = app
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        request_id = request_id_of(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ProblemError as error:
            await send_problem(send_with_id, error.problem, request_id)
        except asyncio.CancelledError:
            # The process ends before the work does. The task ends here in any case; to raise
            # would make the server write a bare 500.
            if status == 0:
                await send_problem(send_with_id, SHUTDOWN_PROBLEM, request_id)
        except Exception as error:  # noqa: BLE001 # reported, and answered like any other problem
            self._events.emit(internal_fault("request", error, request_id))
            if status == 0:
                await send_problem(send_with_id, INTERNAL, request_id)
        finally:
            self._events.emit(
                RequestFinished(
                    caller=Caller(state.get("tenant", ""), request_id),
                    method=scope["method"] if scope["method"] in METHODS else "OTHER",
                    route=getattr(scope.get("route"), "path", UNMATCHED),
                    status=status or CLIENT_CLOSED,
                    seconds=time.perf_counter() - started_s,
                    body_bytes=state.get("body_bytes", 0),
                    key_name=state.get("key_name", ""),
                )
            )
            if action := audited(scope, status or CLIENT_CLOSED):
                self._events.emit(ActionTaken(action))


def request_id_of(scope: Scope) -> str:
    """The caller's `X-Request-ID` if it is a plain word, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return new_request_id()


def new_request_id() -> str:
    """An id for a request that has none."""
    return f"req_{random_hex(16)}"


async def send_problem(send: Send, problem: Problem, request_id: str) -> None:
    """Send a problem as the response, below the framework."""
    headers, body = render(problem, request_id)
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})

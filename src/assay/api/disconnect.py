"""Stops the work for a caller who has gone: nobody pays for an answer that nobody reads."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CancelOnDisconnect:
    """Cancels the handling of a request at once when its caller disconnects."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch = _Watch(receive)
        try:
            await self._app(scope, watch.receive, send)
        except asyncio.CancelledError:
            if not watch.cancelled_handler:
                raise
            _uncancel()
        finally:
            watch.stop()


class _Watch:
    """Passes the body through; once it is complete, waits for the disconnect in a task."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._handler = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None
        self.cancelled_handler = False

    async def receive(self) -> Message:
        if self._task is not None:
            await asyncio.shield(self._task)
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._task = asyncio.get_running_loop().create_task(self._wait())
        elif message["type"] == "http.disconnect":
            self._cancel()
            await asyncio.sleep(0)  # where the cancellation arrives
        return message

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel()

    def _cancel(self) -> None:
        if self._handler is not None:
            self.cancelled_handler = True
            self._handler.cancel()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _uncancel() -> None:
    """The cancellation was ours and ends here: the task goes on to its regular end."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()

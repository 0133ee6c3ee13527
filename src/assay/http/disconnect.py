"""Stops the work for a caller who has gone: nobody pays for an answer that nobody reads."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

ON_LOST = "assay.on_lost"
"""In a request's state: the set of callables that its connection calls when it is lost."""


class CancelOnDisconnect:
    """Cancels the handling of a request at once when its connection is lost.

    The connection tells, rather than a task for each request that waits for it to tell.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        on_lost = scope["state"].get(ON_LOST) if scope["type"] == "http" else None
        handler = asyncio.current_task()
        if on_lost is None or handler is None:
            await self._app(scope, receive, send)
            return
        lost = False

        def cancel() -> None:
            nonlocal lost
            lost = True
            handler.cancel()

        on_lost.add(cancel)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not lost:
                raise
            handler.uncancel()  # the cancellation was ours, and the task goes on to its regular end
        finally:
            on_lost.discard(cancel)

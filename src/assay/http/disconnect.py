"""Cancels the work for a caller who has left, so that it costs nothing more."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

ON_LOST = "assay.on_lost"
"""Key in a request's state: the callbacks that its connection calls when it is lost."""


class CancelOnDisconnect:
    """Cancels the handling of a request as soon as its connection is lost.

    The connection calls back, which saves a waiting task for each request.
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
            handler.uncancel()  # the cancellation was ours, and the task ends regularly
        except ClientDisconnect:
            # Who reads the body may notice it first: until Python 3.12 `asyncio.wait_for`, in the
            # Redis client, drops a cancellation that comes as its own wait ends.
            if lost:
                handler.uncancel()
        finally:
            on_lost.discard(cancel)

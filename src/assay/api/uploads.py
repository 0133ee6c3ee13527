"""Uploaded files, which are held in temporary files: a few at a time, each within a limit.

A Parquet file begins at its end, and a bad row in any file rejects the whole of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

from fastapi import Request

from assay.http.problems import CLOSE, Problem, ProblemError

UPLOADS_AT_ONCE = 4
"""In one process: together with the limit of each, this bounds the disk that they take."""
SPOOLED_BYTES = 1024 * 1024
"""A smaller upload stays in memory."""


class Uploads:
    """The uploads of one process."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0

    @asynccontextmanager
    async def file(self, request: Request) -> AsyncIterator[IO[bytes]]:
        """The body of a request, complete; raises `ProblemError`."""
        if self._held >= UPLOADS_AT_ONCE:
            detail = f"This process takes {UPLOADS_AT_ONCE} uploads at a time. Retry later."
            raise ProblemError(Problem("overloaded", detail, headers=CLOSE))
        self._held += 1
        try:
            with SpooledTemporaryFile(SPOOLED_BYTES) as file:
                await self._write(request, file)
                yield file
        finally:
            self._held -= 1

    async def _write(self, request: Request, file: IO[bytes]) -> None:
        """Write the body, in pieces large enough for a thread to pay."""
        pieces: list[bytes] = []
        size = total = 0
        async for piece in request.stream():
            pieces.append(piece)
            size += len(piece)
            total += len(piece)
            if total > self._bytes_max:
                detail = f"An upload must have at most {self._bytes_max} bytes; append the rest."
                raise ProblemError(Problem("body_too_large", detail, headers=CLOSE))
            if size >= SPOOLED_BYTES:
                await asyncio.to_thread(file.write, b"".join(pieces))
                pieces, size = [], 0
        file.write(b"".join(pieces))
        file.seek(0)

"""A TCP relay in front of a server, whose port can become a black hole."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Self

from fakes.ports import free_port

CHUNK_BYTES = 65_536
BACKLOG_FILLERS = 4


class Relay:
    """Passes bytes on to a port of loopback, until `swallow` drops all that comes, without a word.

    Then open connections stay open and nothing arrives; new ones are never even accepted.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._swallowing = False
        self._hole: list[socket.socket] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_listening()
        self._close_hole()
        for writer in self._writers:
            writer.close()
        closed = (writer.wait_closed() for writer in self._writers)
        await asyncio.gather(*closed, return_exceptions=True)

    async def swallow(self) -> None:
        """Become a black hole."""
        self._swallowing = True
        await self._stop_listening()
        hole = socket.socket()
        hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hole.bind(("127.0.0.1", self.port))
        hole.listen(0)
        self._hole = [hole]
        # With a full backlog the kernel drops the next handshakes.
        for _ in range(BACKLOG_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._hole.append(filler)

    async def heal(self) -> None:
        """Pass bytes on again, over new connections; the old ones stay dead."""
        self._close_hole()
        self._swallowing = False
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _close_hole(self) -> None:
        for socket_ in self._hole:
            socket_.close()
        self._hole = []

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if not self._swallowing:
                    writer.write(data)
        writer.close()

"""Server-sent events, read incrementally from bytes.

Source: WHATWG HTML, section 9.2 "Server-sent events". Only `data` is kept: every dialect names
the type of an event inside its data.
"""

from __future__ import annotations

from codecs import BOM_UTF8

from assay.domain.errors import StreamBroken

EVENT_BYTES_MAX = 8 * 1024 * 1024


class EventParser:
    """Turns the chunks of a stream, cut anywhere, into the data of its events.

    Events without data are left out, and so is a byte order mark before a line.
    """

    __slots__ = ("_after_cr", "_data", "_held", "_partial", "_size_max")

    def __init__(self, size_max: int = EVENT_BYTES_MAX) -> None:
        self._size_max = size_max
        self._partial: list[bytes] = []
        self._data: list[bytes] = []
        self._held = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes; raises `StreamBroken` for a huge one."""
        if not chunk:
            return []
        # A line end of two bytes may be cut in half; its second half is not another line end.
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        chunk = chunk.removeprefix(b"\n") if after_cr else chunk
        self._held += len(chunk)
        if self._held > self._size_max:
            raise StreamBroken("the provider sent an event beyond the size limit")
        if b"\n" not in chunk and b"\r" not in chunk:
            # A long line is joined once, when its end arrives, and not for each chunk.
            self._partial.append(chunk)
            return []
        lines = b"".join((*self._partial, chunk)).splitlines(keepends=True)
        ended = lines[-1].endswith((b"\n", b"\r"))
        self._partial = [] if ended else [lines.pop()]
        return self._events(lines)

    def finish(self) -> list[bytes]:
        """The last event when the stream ends: some servers leave out the last blank line."""
        line = b"".join(self._partial)
        self._partial = []
        return self._events([line, b"\n"])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for raw in lines:
            line = raw.rstrip(b"\r\n").removeprefix(BOM_UTF8)
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        self._held = sum(map(len, self._data)) + sum(map(len, self._partial))
        return [event for event in events if event.strip()]

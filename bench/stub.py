"""A provider that gives every chat completion the same answer after a fixed delay.

Usage: python bench/stub.py PORT DELAY_S [SLOW_SHARE]
`SLOW_SHARE` of the answers, at random, take ten times as long.
`/v1/…` answers in one piece, `/stream/v1/…` as server-sent events at once, `/tokens/v1/…` with a
pause after each of them. It reads no body and uses the bare transport, so that it is never the
bottleneck.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import cast

import orjson
import uvloop

READ_BYTES = 256 * 1024
HEAD_END = b"\r\n\r\n"
SLOW_TIMES = 10
TOKEN_S = 0.005
USAGE = {"prompt_tokens": 250_000, "completion_tokens": 24, "total_tokens": 250_024}
VERDICT = '{"reasoning": "It says what was asked for, and says it politely.", "verdict": "pass"}'


def document(kind: str, **choice: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-stub",
        "object": kind,
        "created": 1_790_000_000,
        "model": "judge",
        "choices": [{"index": 0, "finish_reason": None, **choice}],
    }


def response(content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def whole_answer() -> bytes:
    message = {"role": "assistant", "content": VERDICT}
    answer = document("chat.completion", message=message, finish_reason="stop")
    return response("application/json", orjson.dumps(answer | {"usage": USAGE}))


def streamed_answer() -> bytes:
    """One event for every four characters, which is about a token."""
    kind = "chat.completion.chunk"
    pieces = [VERDICT[start : start + 4] for start in range(0, len(VERDICT), 4)]
    events: list[dict[str, object]] = [
        document(kind, delta={"role": "assistant", "content": ""}),
        *(document(kind, delta={"content": piece}) for piece in pieces),
        document(kind, delta={}, finish_reason="stop"),
        document(kind) | {"choices": [], "usage": USAGE},
    ]
    body = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    return response("text/event-stream", body + b"data: [DONE]\n\n")


WHOLE, STREAMED = whole_answer(), streamed_answer()
EVENT_END = b"\n\n"
TOKENS = [event + EVENT_END for event in STREAMED.split(EVENT_END) if event]
"""The streamed answer in the pieces that arrive one by one; the first has the head."""


class Stub(asyncio.BufferedProtocol):
    """Counts the bytes of a body without keeping them; requests come one after another."""

    def __init__(self, delay_s: float, slow_share: float) -> None:
        self._delay_s = delay_s
        self._slow_share = slow_share
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._head = b""
        self._left = 0
        self._pieces: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._left:
            self._take(nbytes)
            return
        self._head += self._view[:nbytes]
        head, end, rest = self._head.partition(HEAD_END)
        if not end:
            return
        self._head = b""
        line = head[: head.find(b"\r\n")]
        whole = [STREAMED if b" /stream/" in line else WHOLE]
        self._pieces = TOKENS if b" /tokens/" in line else whole
        self._left = content_length(head)
        self._take(len(rest))

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left <= 0:
            self._left = 0
            is_slow = self._slow_share and random.random() < self._slow_share
            delay_s = self._delay_s * (SLOW_TIMES if is_slow else 1)
            self._loop.call_later(delay_s, self._reply, self._pieces)

    def _reply(self, pieces: list[bytes]) -> None:
        if self._transport is not None:
            self._transport.write(pieces[0])
            if len(pieces) > 1:
                self._loop.call_later(TOKEN_S, self._reply, pieces[1:])


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


async def main(port: int, delay_s: float, slow_share: float = 0.0) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Stub(delay_s, slow_share), "127.0.0.1", port, backlog=4_096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *map(float, sys.argv[2:])))

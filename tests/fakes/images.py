"""Small images of every type, and a server that gives them out."""

from __future__ import annotations

import base64
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


def png(width: int = 2, height: int = 3, color: int = 0) -> bytes:
    """A PNG that decodes where it is small; a large one is a header alone."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([color]) * width) * height if width * height < 1_000 else b""
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def jpeg(width: int = 2, height: int = 3) -> bytes:
    """The segments of a JPEG up to its frame."""
    app0 = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + b"\1\1\0\0\1\0\1\0\0"
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + app0 + frame


def gif(width: int = 2, height: int = 3) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(3)


def webp(kind: bytes = b"VP8X", width: int = 2, height: int = 3) -> bytes:
    bodies = {
        b"VP8X": bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
        b"VP8L": b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little"),
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }
    body = kind + struct.pack("<I", len(bodies[kind])) + bodies[kind]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64_of(content)}"


def part(url: str | bytes) -> dict[str, Any]:
    """A content part of chat completions with an image, from its URL or its bytes."""
    url = url if isinstance(url, str) else data_uri(url)
    return {"type": "image_url", "image_url": {"url": url}}


def message(*content: Any, role: str = "user") -> dict[str, Any]:
    """A message of texts, of images in bytes, and of other parts."""
    return {"role": role, "content": [_shown(one) for one in content]}


def _shown(one: Any) -> Any:
    if isinstance(one, str):
        return {"type": "text", "text": one}
    return part(one) if isinstance(one, bytes) else one


@dataclass
class ImageHost:
    """A host of images on the loopback; `answers` are (status, headers, body) by path."""

    url: str = ""
    port: int = 0
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def give(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        """Answer `path` in this way; its URL."""
        self.answers[path] = (status, headers, body)
        return f"{self.url}{path}"


@contextlib.asynccontextmanager
async def image_host() -> AsyncIterator[ImageHost]:
    """A running host."""
    host = ImageHost()

    async def answer(request: web.Request) -> web.Response:
        host.asked.append((request.path, dict(request.headers)))
        status, headers, body = host.answers.get(request.path, (404, {}, b""))
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        host.url, host.port = f"http://127.0.0.1:{server.port}", server.port or 0
        yield host

"""Images in a case: the content parts that hold them, and what their first bytes say.

An image is never decoded: its type and its size in pixels are read from its header.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

IMAGES_MAX = 20
"""Images in one case. Anthropic takes no more of them at full size."""
IMAGE_BYTES_MAX = 5 * 1024 * 1024
"""Bytes of one image: what Anthropic takes."""
TOO_LARGE = f"has more than {IMAGE_BYTES_MAX} bytes"
DETAILS = ("auto", "low", "high", "original")
"""How closely a model of OpenAI looks, in the words of its API."""

TOKENS_MIN, TOKENS_MAX = 300, 5_000
PIXELS_PER_TOKEN = 400
"""More tokens than vendors count. A megapixel counts about 1,400 at Anthropic, up to 2,519 at
OpenAI (a token for 32 x 32 pixels, times the model's factor) and 1,032 at Gemini; an image of any
size at most 4,784, 3,779 and about 2,500."""

FRAME_MARKERS = frozenset(bytes([code]) for code in range(0xC0, 0xD0)) - {b"\xc4", b"\xc8", b"\xcc"}
SEGMENTS_MAX = 1_000
"""Segments of a JPEG that are passed on the way to its size."""
DEPTH_MAX = 2
"""Messages hold content parts, and the result of a tool holds parts of its own."""

Location = tuple[str | int, ...]
UrlFault = Callable[[str], str | None]


class ImageFault(ValueError):
    """A content part is no image that can be judged; `location` leads to the fault within it."""

    def __init__(self, message: str, location: Location = ()) -> None:
        super().__init__(message)
        self.message = message
        self.location = location


@dataclass(frozen=True, slots=True, repr=False)
class Image:
    """An image in base64, or the `url` that it has yet to be fetched from.

    Images are equal where their bytes are, or their URLs. `width` and `height` are in pixels, 0
    where the header does not say. What represents an image as text never holds its content.
    """

    digest: str
    detail: str = ""
    url: str = ""
    format: str = field(default="", compare=False)
    data: str = field(default="", compare=False)
    width: int = field(default=0, compare=False)
    height: int = field(default=0, compare=False)

    @classmethod
    def from_bytes(cls, content: bytes, data: str = "", detail: str = "") -> Image:
        """The image in `content`, of which `data` is the base64; its type is what the bytes say.

        Raises `ImageFault`.
        """
        if len(content) > IMAGE_BYTES_MAX:
            raise ImageFault(TOO_LARGE)
        format_ = _format(content)
        width, height = _pixels(format_, content)
        digest = hashlib.sha256(content).hexdigest()
        data = data or base64.b64encode(content).decode()
        return cls(digest, detail, "", format_, data, width, height)

    def __len__(self) -> int:
        """Characters of its base64."""
        return len(self.data)

    def __bool__(self) -> bool:
        return True

    @property
    def media_type(self) -> str:
        return f"image/{self.format}"

    @property
    def data_uri(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"

    @property
    def tokens(self) -> int:
        """A high estimate of what a judge reads for it."""
        if not (self.width and self.height):
            return TOKENS_MAX
        tokens = math.ceil(self.width * self.height / PIXELS_PER_TOKEN)
        return min(max(tokens, TOKENS_MIN), TOKENS_MAX)

    def __str__(self) -> str:
        return f"[image {self.digest[:32]}]"

    def __repr__(self) -> str:
        return f"Image({self.digest}, {self.detail!r}, url={bool(self.url)})"


def no_fault(url: str) -> None:
    """Any URL may be fetched, as far as is known here."""
    del url


def image_in(part: Any, url_fault: UrlFault = no_fault) -> Image | None:
    """The image of a content part; None for any other part.

    `url_fault` says why a URL may not be fetched. Raises `ImageFault`.
    """
    found = _found(part)
    if found is None:
        return None
    location, given, is_base64 = found
    try:
        return _from_base64(given) if is_base64 else _from_url(given, _detail(part), url_fault)
    except ImageFault as fault:
        fault.location = location
        raise


def _found(part: Any) -> tuple[Location, Any, bool] | None:
    """Where a part has its image, in the forms of OpenAI and Anthropic; True: in base64."""
    match part:
        case {"type": "image_url" | "input_image", "image_url": {"url": url}}:
            return ("image_url", "url"), url, False
        case {"type": "image_url" | "input_image"}:
            return ("image_url",), part.get("image_url"), False
        case {"type": "image", "source": {"url": url}}:
            return ("source", "url"), url, False
        case {"type": "image", "source": {"data": data}}:
            return ("source", "data"), data, True
        case {"type": "image"}:
            return ("source",), None, True
    return None


def _detail(part: Mapping[str, Any]) -> str:
    nested = part.get("image_url")
    detail = (nested if isinstance(nested, Mapping) else part).get("detail") or ""
    if detail not in ("", *DETAILS):
        raise ImageFault(f"must have a detail of {', '.join(DETAILS)}")
    return str(detail)


def _from_url(url: Any, detail: str, url_fault: UrlFault) -> Image:
    if not isinstance(url, str) or not url.startswith(("data:", "https://", "http://")):
        raise ImageFault("must be a data URI or an http(s) URL")
    if url.startswith("data:"):
        head, _, data = url.partition(",")
        if not head.endswith(";base64"):
            raise ImageFault("must be a data URI in base64")
        return _from_base64(data, detail)
    if (fault := url_fault(url)) is not None:
        raise ImageFault(fault)
    return Image(hashlib.sha256(url.encode(errors="replace")).hexdigest(), detail, url)


def _from_base64(data: Any, detail: str = "") -> Image:
    if not isinstance(data, str) or not data:
        raise ImageFault("must be an image in base64")
    if len(data) > IMAGE_BYTES_MAX * 4 / 3 + 4:
        raise ImageFault(TOO_LARGE)
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        raise ImageFault("must be base64, without white space") from None
    return Image.from_bytes(content, data, detail)


def content_key(message: Mapping[str, Any]) -> str:
    """Where a message has its content; OpenAI's results of tools have an `output` instead."""
    is_output = message.get("content") is None and "output" in message
    return "output" if is_output else "content"


def replaced(
    entries: Sequence[Any], replacement: Callable[[Any], Any], depth: int = DEPTH_MAX
) -> Sequence[Any]:
    """Messages or content parts, with what `replacement` returns for a part in place of the part.

    A part for which it returns None stays; where all do, the very same sequence is returned. Texts
    are not looked at.
    """
    changed: list[Any] | None = None
    for index, entry in enumerate(entries):
        if isinstance(entry, str):
            continue
        location: Location = (index,)
        try:
            new = replacement(entry)
            if new is None and depth and isinstance(entry, Mapping):
                key = content_key(entry)
                inner, location = entry.get(key), (index, key)
                if isinstance(inner, list | tuple):
                    kept = replaced(inner, replacement, depth - 1)
                    new = None if kept is inner else {**entry, key: kept}
        except ImageFault as fault:
            fault.location = (*location, *fault.location)
            raise
        if new is not None:
            changed = list(entries) if changed is None else changed
            changed[index] = new
    return entries if changed is None else changed


def images_in(value: Any) -> list[Image]:
    """The images in messages or in content parts, in their order."""
    found: list[Image] = []
    if isinstance(value, list | tuple):
        replaced(value, lambda entry: found.append(entry) if isinstance(entry, Image) else None)
    return found


def _format(content: bytes) -> str:
    """The type that the first bytes show."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    what = "is a PDF, not an image" if content.startswith(b"%PDF-") else "is not an image"
    raise ImageFault(f"{what}: its bytes must be those of a PNG, JPEG, GIF or WebP")


def _pixels(format_: str, content: bytes) -> tuple[int, int]:
    """Width and height by the header; 0 where it has none."""

    def little(start: int, end: int) -> int:
        return int.from_bytes(content[start:end], "little")

    match format_, content[12:16]:
        case "png", _:
            return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
        case "gif", _:
            return little(6, 8), little(8, 10)
        case "webp", b"VP8X":
            return little(24, 27) + 1, little(27, 30) + 1
        case "webp", b"VP8L":
            return (little(21, 25) & 0x3FFF) + 1, (little(21, 25) >> 14 & 0x3FFF) + 1
        case "webp", _:
            return little(26, 28) & 0x3FFF, little(28, 30) & 0x3FFF
    return _jpeg_pixels(content)


def _jpeg_pixels(content: bytes) -> tuple[int, int]:
    """The size in the segment that starts a frame."""
    at = 2
    for _ in range(SEGMENTS_MAX):
        marker = content[at : at + 2]
        if marker[:1] != b"\xff":
            break
        if marker[1:] in FRAME_MARKERS:
            height, width = content[at + 5 : at + 7], content[at + 7 : at + 9]
            return int.from_bytes(width), int.from_bytes(height)
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return 0, 0

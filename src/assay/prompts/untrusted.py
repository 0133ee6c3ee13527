"""The caller's untrusted text: what a judge is shown, and the delimiters it is shown in."""

from __future__ import annotations

import hmac
import itertools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import re2  # type: ignore[import-untyped]  # the wheel ships no stubs
from xxhash import xxh3_128

from assay.domain.case_text import as_json
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, Passage, Text
from assay.domain.ids import random_hex
from assay.domain.images import Image, content_key, images_in

Piece = tuple[str, str | Image]
UntrustedContent = Sequence[Piece]
"""Pieces of untrusted content, each with the title that it is shown under."""

DELIMITER_BYTES = 8
DAY_S = 86_400
_INVISIBLE = "\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
_BLANK = "\\x00-\\x20\u0085\u00a0\u1680\u2000-\u200a\u2028-\u202f\u205f\u3000"
_GAP = f"[{_BLANK}{_INVISIBLE}]{{0,9}}"
_ALIKE = ("mмｍ", "aаａα", "tтｔτ", "eеｅε", "rгｒ", "iіｉι1l|", "aаａα", "lｌ1i|і")
"""The letters of our tag, each with those of Cyrillic, Greek and wide type that look like it."""
TAG_NAME = f"{_GAP}/?{_GAP}" + f"[{_INVISIBLE}]{{0,3}}".join(f"[{same}]" for same in _ALIKE)
"""What follows the bracket of a look-alike, as a pattern for `re` and for RE2, case ignored."""
LOOK_ALIKE = re.compile(rf"[<＜]{TAG_NAME}(?=[\W_]|$)", re.IGNORECASE)
"""What could pass for one of our delimiters in a reader's eyes."""
_SUSPECT = re2.compile(f"<(?i:{TAG_NAME})")
"""Finds out many times faster that a megabyte has nothing of the kind."""


NOT_SHOWN = "[a part that is not text]"
UNREADABLE = frozenset(
    {"audio", "audio_url", "document", "file", "input_audio", "input_file", "video", "video_url"}
    | {"image", "image_url", "input_image"}
)
"""Types of parts that judges are not sent, and of images that were not read: a verdict without
them would be blind."""
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def case_content(case: Case) -> UntrustedContent:
    """All of the case: what the output answers and is compared to, before the output.

    Raises `NotApplicable` for sound, films and files.
    """
    pieces: list[Piece] = []
    if case.tools:
        pieces.append(("tools that could be called", as_json(case.tools)))
    if case.input is not None:
        pieces += text_pieces("input", case.input)
    pieces += _numbered("context", case.context)
    pieces += _numbered("reference", case.reference)
    if case.expected_tools:
        pieces.append(("expected tool calls", as_json(case.expected_tools)))
    return [*pieces, *text_pieces("output", case.output)]


def content_without_output(case: Case) -> UntrustedContent:
    """The material of a case without its output."""
    return case_content(replace(case, output=""))[:-1]


def text_pieces(title: str, text: Text) -> list[Piece]:
    """A text as one piece; of a conversation, each message in delimiters of its own.

    Who speaks is said in our title, where no content can reach: a text that holds "assistant:"
    remains a part of the message that it stands in. The images of a message follow it, each by the
    number that stands in its place.
    """
    if isinstance(text, str):
        return [(title, text)]
    pieces: list[Piece] = []
    for number, message in enumerate(text, 1):
        role = message.get("role")
        label = f"{title}, message {number} of {len(text)}, role {role if role in ROLES else '?'}"
        key = content_key(message)
        content = message.get(key)
        if key != "content" and not images_in(content):
            key, content = "content", None
        rest = {name: value for name, value in message.items() if name not in ("role", key)}
        if content is not None or not rest:
            pieces.append((label, _content(content)))
            pieces += image_pieces(label, images_in(content))
        if rest:
            pieces.append((f"{label}, its other fields as JSON", as_json(rest)))
    return pieces


def image_pieces(title: str, images: Sequence[Image]) -> list[Piece]:
    """The images that belong to the text under this title, numbered."""
    return [(f"{title}, image {number}", image) for number, image in enumerate(images, 1)]


def _content(content: Any) -> str:
    """Text as it is; parts that are not text are named, so that the judge knows of them."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list | tuple):
        return as_json(content)
    numbers = itertools.count(1)
    return "\n".join(_part(part, numbers) for part in content)


def _part(part: Any, numbers: Iterator[int]) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Image):
        return f"[image {next(numbers)}]"
    fields = part if isinstance(part, Mapping) else {}
    if fields.get("type") in UNREADABLE:
        message = f'The case has a part of type "{fields["type"]}", which no judge is sent.'
        raise NotApplicable("input_unsupported", message)
    if isinstance(text := fields.get("text"), str):
        return text
    inner = fields.get("content")
    if isinstance(inner, list | tuple) and images_in(inner):
        return "\n".join(_part(one, numbers) for one in inner)
    return NOT_SHOWN


def _numbered(title: str, texts: Sequence[Passage]) -> list[Piece]:
    if len(texts) == 1:
        return [(title, texts[0])]
    return [(f"{title} {number}", text) for number, text in enumerate(texts, 1)]


def delimiter(key: bytes, tenant: str, content: UntrustedContent, period: str | None = None) -> str:
    """The value of the delimiters, which no text inside them can know.

    It is an HMAC of the tenant, the day and the content: the same for all questions about one
    content, so that providers can reuse their common beginning, and a value that has leaked is
    worth nothing in another content. Without a key it is random. A `period` stands in place of the
    day.
    """
    if not key:
        return random_hex(DELIMITER_BYTES)
    # To hash a megabyte with SHA-256 would cost as much as to parse it. The fingerprint is keyed
    # as well, so that no text can be written to have the fingerprint of another.
    fingerprint = xxh3_128(seed=int.from_bytes(key[:8]))
    for title, text in content:
        for part in (title, text):
            encoded = (part.digest if isinstance(part, Image) else part).encode(
                "utf-8", "surrogatepass"
            )
            fingerprint.update(len(encoded).to_bytes(8))
            fingerprint.update(encoded)
    period = period or str(int(time.time() // DAY_S))
    signed = b"\n".join((tenant.encode(), period.encode(), fingerprint.digest()))
    return hmac.digest(key, signed, "sha256")[:DELIMITER_BYTES].hex()


def delimited(content: UntrustedContent, value: str) -> list[str | Image]:
    """The content in parts, each piece between tags that carry the value; nothing is joined."""
    parts: list[str | Image] = []
    for title, text in content:
        empty = ", empty" if text == "" else ""
        parts += [
            f'\n<material-{value} title="{title}{empty}">\n',
            text if isinstance(text, Image) else neutral(text),
            f"\n</material-{value}>\n",
        ]
    return parts


def neutral(text: str) -> str:
    """The text with everything that looks like a delimiter made harmless, else unchanged.

    A NUL character, which no provider takes, is replaced by U+FFFD.
    """
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if "＜" not in text:
        encoded = text.encode("utf-8", "replace") if "<" in text else b""
        if _SUSPECT.search(encoded) is None:
            return text
    return LOOK_ALIKE.sub(lambda match: "‹" + match.group()[1:], text)

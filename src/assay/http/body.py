"""Reads a JSON body once, with one parser, and refuses what no resource could use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic_core import from_json
from starlette.requests import Request

from assay.domain.errors import FieldError, RequestError
from assay.domain.exact_json import decode_fault
from assay.domain.json_pointer import pointer_part
from assay.http.problems import Problem, ProblemError

JSON = ("application/json",)
VALUES_MAX = 50_000
DEPTH_MAX = 64
"""Nesting of a body. The serializer of responses allows 254."""

LARGE_BYTES = 64 * 1_024
"""For bodies from this size on it pays to choose the faster parser."""
SAMPLED_BYTES = 2_048
"""Taken from the beginning, the middle and the end: to count the escapes of a whole megabyte would
cost as much as the faster parser saves."""
ESCAPES_MAX = 3 * SAMPLED_BYTES // 16
"""At one escape in sixteen bytes both parsers are equally fast."""
CASE_TEXTS = frozenset(
    (
        *("output", "actual_output", "response", "output_a", "output_b", "input", "user_input"),
        *("context", "retrieval_context", "retrieved_contexts", "reference", "expected"),
        *("expected_output", "ground_truth", "ideal", "target", "fields", "sample"),
    )
)
"""The members of a body that hold the texts of a case, which may contain NUL characters."""
SEARCHED_MAX = 64
"""Marks that are searched for before the rest are counted."""
NUMBER_MAX = 2.0**63
"""Up to this magnitude both parsers read a number alike."""


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body, with the SHA-256 of its bytes if it was asked for."""

    document: dict[str, Any]
    sha256: str = ""


async def read_json(request: Request, *, digested: bool = False) -> Body:
    """The body of a request as a JSON object.

    Its bytes are released as soon as they are parsed, so that a request in flight holds its text
    only once. Raises `ProblemError` (`unsupported_media_type`) and `RequestError`
    (`malformed_json`, `invalid_request`).
    """
    require_media_type(request, JSON)
    chunks = [chunk async for chunk in request.stream() if chunk]
    raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)  # a single one is not copied
    del chunks
    check_count(raw)
    document = _plain(raw) or _parsed(raw)
    return Body(document, hashlib.sha256(raw).hexdigest() if digested else "")


def check_count(raw: bytes) -> None:
    """Refuse JSON of more than `VALUES_MAX` values before it is parsed.

    A megabyte of brackets takes a hundred times as long to parse and to walk through as one of
    text. A comma or a bracket stands before each value but the first, and most bodies have few
    even within their texts; only of the others are the texts left out. Raises `RequestError`
    (`invalid_request`).
    """
    if _marks(raw) <= VALUES_MAX:
        return
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    many_texts = plain.count(b'"') > 4 * VALUES_MAX  # two quotes each, of names and of values
    if many_texts or _marks(b"".join(plain.split(b'"')[::2])) > VALUES_MAX:
        message = f"must have at most {VALUES_MAX} values"
        raise RequestError("invalid_request", f"The body {message}.", (FieldError("", message),))


def _marks(raw: bytes) -> int:
    return _count(raw, b"[") + _count(raw, b"{") + _count(raw, b",")


def _count(raw: bytes, mark: bytes) -> int:
    """`raw.count(mark)`, which is ten times as slow as `find` where marks are rare."""
    at, found = raw.find(mark), 0
    while at >= 0 and found < SEARCHED_MAX:
        found += 1
        at = raw.find(mark, at + 1)
    return found if at < 0 else found + raw.count(mark, at)


def prefers_pydantic(raw: bytes) -> bool:
    """Whether it is a large ASCII body with few escapes.

    Pydantic's parser reads such a body six times as fast as orjson, and any other at half its
    speed.
    """
    is_large = len(raw) >= LARGE_BYTES and raw.isascii()
    return is_large and _sample(raw).count(b"\\") <= ESCAPES_MAX


def _plain(raw: bytes) -> dict[str, Any] | None:
    """The body that pydantic's parser reads faster, if there is nothing to refuse; else None.

    Numbers beyond 64 bits, which the two parsers read differently, are left to orjson.
    """
    if not prefers_pydantic(raw):
        return None
    try:
        document = from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return None
    return document if isinstance(document, dict) and _is_sound(document) else None


def _sample(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:SAMPLED_BYTES] + raw[middle : middle + SAMPLED_BYTES] + raw[-SAMPLED_BYTES:]


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        reason = decode_fault(error, raw)
        raise RequestError("malformed_json", f"{reason[:1].upper()}{reason[1:]}.") from None
    if not isinstance(document, dict):
        fault = FieldError("", "must be a JSON object")
        raise RequestError("invalid_request", "The body must be a JSON object.", (fault,))
    check_structure(document)
    return with_exact_numbers(document, raw)


def with_exact_numbers(document: dict[str, Any], raw: bytes) -> dict[str, Any]:
    """The checked document of a body: orjson makes a double of a number beyond 64 bits."""
    exact: dict[str, Any] = document if _is_sound(document) else from_json(raw)
    return exact


def require_media_type(request: Request, accepted: Sequence[str]) -> str:
    """The body's media type; raises `ProblemError` for another one, or a compressed body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type not in accepted or encoding != "identity":
        detail = f"Send the body as 'Content-Type: {accepted[0]}', without a Content-Encoding."
        raise ProblemError(Problem("unsupported_media_type", detail))
    return media_type


def check_structure(document: dict[str, Any]) -> None:
    """Refuse nesting that is too deep, and NUL characters but in the texts of a case.

    An output may hold anything, and checks say so; in a name or a setting a NUL is a mistake.
    Raises `RequestError` (`malformed_json`, `invalid_request`).
    """
    if _is_sound(document):
        return
    for pointer, depth, name, text in _walk(document):
        if depth > DEPTH_MAX:
            detail = f"The body must be nested at most {DEPTH_MAX} levels deep."
            raise RequestError("malformed_json", detail, (FieldError(pointer, "is too deep"),))
        in_case = pointer.partition("/")[2].partition("/")[0] in CASE_TEXTS
        if "\0" in name or ("\0" in text and not in_case):
            fault = FieldError(pointer, "must not contain a NUL character (U+0000)")
            raise RequestError("invalid_request", "Text must not contain NUL characters.", (fault,))


def _is_sound(document: dict[str, Any]) -> bool:
    """Whether there is nothing to refuse; a quick pass, level by level and without pointers.

    A search for one character takes 40 µs per megabyte in the parsed strings, and ten times as
    long for its escape in the raw body.
    """
    level: list[Any] = [document]
    for _ in range(DEPTH_MAX):
        inner: list[Any] = []
        for node in level:
            if type(node) is dict:
                if "\0" in "".join(node):
                    return False
                values: Iterable[Any] = node.values()
            else:
                values = node
            for value in values:
                kind = type(value)
                if kind is dict or kind is list:
                    inner.append(value)
                elif not _is_plain(value, kind):
                    return False
        if not inner:
            return True
        level = inner
    return False


def _is_plain(value: Any, kind: type) -> bool:
    if kind is str:
        return "\0" not in value
    return (kind is not int and kind is not float) or -NUMBER_MAX <= value < NUMBER_MAX


def _walk(document: dict[str, Any]) -> Iterator[tuple[str, int, str, str]]:
    """Every value with its pointer and depth, as text ("" if it is none), and every name."""
    stack: list[tuple[str, int, Any]] = [("", 1, document)]
    while stack:
        pointer, depth, value = stack.pop()
        yield pointer, depth, "", value if isinstance(value, str) else ""
        if depth > DEPTH_MAX:
            continue
        if isinstance(value, dict):
            for name, inner in value.items():
                if "\0" in name:
                    yield pointer, depth, name, ""
                stack.append((f"{pointer}/{pointer_part(name)}", depth + 1, inner))
        elif isinstance(value, list):
            stack.extend(
                (f"{pointer}/{index}", depth + 1, inner) for index, inner in enumerate(value)
            )

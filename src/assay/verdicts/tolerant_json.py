"""Reads an almost-JSON object as models write them, without ever making up a value.

Accepted beyond JSON: single quotes, trailing commas, control characters in strings, escapes that
JSON does not know, `True`, `False` and `None`, comments, and a bare value such as `4/5`, which
stays text (`Bare`). Anything else raises `ValueError`: nothing is completed and nothing skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

DEPTH_MAX = 16

_SPACE = re.compile(r"(?:\s{1,1000}|//[^\n]{0,1000}|#[^\n]{0,1000}|/\*[^*]{0,1000}\*/){0,100}")
_BARE = re.compile(r"[^\s,\]}\"'{\[:]{1,64}")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,4})?\Z")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CONSTANTS = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
}


class Bare(str):
    """A value without quotes that is no JSON value."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object as its members, repeated ones included."""

    def values_of(self, name: str) -> Sequence[Any]:
        """Every value that the object gives to a member, in any case of its letters, in order."""
        return [value for key, value in self if key.lower() == name.lower()]


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no value of JSON")


_JSON = json.JSONDecoder(object_pairs_hook=Pairs, parse_constant=_no_constant, strict=False)


def read_value(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at a place, and where it ends; objects are `Pairs`.

    Raises `ValueError` where it is cut off or broken.
    """
    try:
        return _JSON.raw_decode(text, at)
    except (ValueError, RecursionError):  # what is not quite JSON is read with more tolerance
        return _value(text, at, 0)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    match text[at : at + 1]:
        case "{":
            return _object(text, at, depth)
        case "[":
            return _array(text, at, depth)
        case '"' | "'":
            return _string(text, at)
        case _:
            return _scalar(text, at)


def _object(text: str, at: int, depth: int) -> tuple[Pairs, int]:
    pairs = Pairs()
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] not in ('"', "'"):
            raise ValueError("a name is missing")
        name, at = _string(text, at)
        at = _expect(text, _skip(text, at), ":")
        value, at = _value(text, _skip(text, at), depth + 1)
        pairs.append((name, value))
        at = _next(text, at, "}")
    return pairs, at + 1


def _array(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        value, at = _value(text, at, depth + 1)
        values.append(value)
        at = _next(text, at, "]")
    return values, at + 1


def _next(text: str, at: int, end: str) -> int:
    """Past the comma between two values, or at the end."""
    at = _skip(text, at)
    if text[at : at + 1] == end:
        return at
    return _skip(text, _expect(text, at, ","))


def _string(text: str, at: int) -> tuple[str, int]:
    quote, at = text[at], at + 1
    parts: list[str] = []
    stop = re.compile(r"[\\\"]" if quote == '"' else r"[\\']")
    while (found := stop.search(text, at)) is not None:
        parts.append(text[at : found.start()])
        at = found.end()
        if found.group() == quote:
            return "".join(parts), at
        escaped = text[at : at + 1]
        at += 1
        if escaped == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", text[at : at + 4]):
            parts.append(chr(int(text[at : at + 4], 16)))
            at += 4
        elif escaped in _ESCAPES:
            parts.append(_ESCAPES[escaped])
        else:
            parts.append(escaped if escaped in "\"'\\/" else "\\" + escaped)
    raise ValueError("a string is cut off")


def _scalar(text: str, at: int) -> tuple[Any, int]:
    found = _BARE.match(text, at)
    if found is None:
        raise ValueError("a value is missing")
    word = found.group()
    if word in _CONSTANTS:
        return _CONSTANTS[word], found.end()
    if _NUMBER.match(word):
        number = float(word)
        is_whole = word.lstrip("-").isdigit()
        return (int(word) if is_whole else number), found.end()
    return Bare(word), found.end()


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise ValueError(f"{character} is missing")
    return at + 1

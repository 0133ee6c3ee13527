"""Searches a case for signs of prompt injection: pure, and linear in its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from assay.domain.case_text import as_json, content_text
from assay.domain.evaluation import Case, Sign, Suspicion, Text
from assay.screening.decoding import TRACES, decoded
from assay.screening.patterns import (
    MASTER_KEY,
    MASTER_KEY_CHARS_MAX,
    PATTERNS,
    PatternSet,
)

SUSPICIONS_MAX = 16
EXCERPT_CHARS_MAX = 80

_NAMED = [(sign, pattern) for sign, patterns in PATTERNS.items() for pattern in patterns]
_SIGNS = PatternSet(_NAMED)
_SIGNS_AND_TRACES = PatternSet([*_NAMED, *TRACES.items()])
IN_INPUT = frozenset({"delimiter", "addresses_grader", "encoded"})
"""The signs that count in an input: people honestly ask for ratings there."""


@dataclass(frozen=True, slots=True)
class Field:
    """One text of a case, with the name of its field and its UTF-8 bytes."""

    name: str
    text: str
    encoded: bytes


Found = Sequence[tuple[Field, Sequence[tuple[str, Any]]]]
"""What the one pass over each text found: names of signs and traces, with their patterns."""


def scan(case: Case) -> tuple[Suspicion, ...]:
    """The signs in a case: each kind at most once for each field."""
    return suspicions(searched(fields_of(case)))


def fields_of(case: Case) -> Sequence[Field]:
    """The texts of a case, the output first."""
    # RE2 reads UTF-8, which has no lone surrogates.
    return [Field(name, text, text.encode("utf-8", "replace")) for name, text in _texts(case)]


def searched(fields: Iterable[Field]) -> Found:
    """The one pass over the texts; returns the fields that need a closer look."""
    found = ((field, list(_SIGNS_AND_TRACES.found(field.encoded))) for field in fields)
    return [(field, hits) for field, hits in found if hits or may_be_master_key(field)]


def suspicions(found: Found) -> tuple[Suspicion, ...]:
    """The suspicions behind what was found; encoded text is decoded."""
    kept: dict[tuple[Sign, str], Suspicion] = {}
    for field, hits in found:
        for suspicion in _signs(field, hits):
            if field.name != "input" or suspicion.sign in IN_INPUT:
                kept.setdefault((suspicion.sign, suspicion.field), suspicion)
        if len(kept) >= SUSPICIONS_MAX:
            break
    return tuple(kept.values())[:SUSPICIONS_MAX]


def _signs(field: Field, hits: Sequence[tuple[str, Any]]) -> Iterator[Suspicion]:
    plain = [(name, pattern) for name, pattern in hits if name not in TRACES]
    for name, pattern in plain:
        yield Suspicion(cast("Sign", name), field.name, _shown(pattern, field.encoded))
    if may_be_master_key(field) and is_master_key(field.text):
        yield Suspicion("master_key", field.name, excerpt(field.text))
    known = {name for name, _ in plain}
    for encoding, trace in hits:
        if encoding not in TRACES:
            continue
        for text in decoded(encoding, trace, field.encoded):
            hidden = text.encode("utf-8", "replace")
            for name, pattern in _SIGNS.found(hidden):
                if name not in known:
                    shown = f"{encoding}: {_shown(pattern, hidden)}"
                    yield Suspicion("encoded", field.name, excerpt(shown))
                    return


def _shown(pattern: Any, text: bytes) -> str:
    match = pattern.search(text)
    return excerpt(match.group().decode("utf-8", "replace"))


def may_be_master_key(field: Field) -> bool:
    """Whether a text is a short output."""
    return field.name == "output" and len(field.text) <= MASTER_KEY_CHARS_MAX


def is_master_key(text: str) -> bool:
    """Whether an output consists of nothing but openers and punctuation."""
    if not text.strip() or len(text) > MASTER_KEY_CHARS_MAX:
        return False
    return MASTER_KEY.fullmatch(text.encode("utf-8", "replace")) is not None


def excerpt(text: str) -> str:
    """The beginning of a text on one line of ASCII, at most 80 characters."""
    shown = ascii(text[:EXCERPT_CHARS_MAX])[1:-1]
    return shown if len(shown) <= EXCERPT_CHARS_MAX else shown[: EXCERPT_CHARS_MAX - 3] + "..."


def _texts(case: Case) -> Iterator[tuple[str, str]]:
    """The texts of a case by the names of their fields, the output first."""
    yield from _text_parts("output", case.output)
    for text in case.context:
        yield "context", text
    for text in case.reference:
        yield "reference", text
    for name, tools in (("tools", case.tools), ("expected_tools", case.expected_tools)):
        if tools:
            yield name, as_json(tools)
    if case.input is not None:
        yield from _text_parts("input", case.input)


def _text_parts(field: str, text: Text) -> Iterator[tuple[str, str]]:
    """A text, or all parts of each message; an input's system messages are the caller's own."""
    if isinstance(text, str):
        yield field, text
        return
    for message in text:
        if field == "input" and message.get("role") in ("system", "developer"):
            continue
        yield field, content_text(message.get("content"))
        rest = {key: value for key, value in message.items() if key not in ("role", "content")}
        if rest:
            yield field, as_json(rest)

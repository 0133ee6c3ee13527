"""Looks through a case for signs of injection; linear in its length, and pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from assay.domain.evaluation import Case, Sign, Suspicion, Text
from assay.evaluation.criteria.case_text import as_json, content_text
from assay.evaluation.injection.decoding import TRACES, decoded
from assay.evaluation.injection.patterns import (
    MASTER_KEY,
    MASTER_KEY_CHARS_MAX,
    PATTERNS,
    PatternSet,
)

SUSPICIONS_MAX = 16
EXCERPT_CHARS_MAX = 80

_SIGNS = PatternSet([(sign, each) for sign, several in PATTERNS.items() for each in several])
_SIGNS_AND_TRACES = PatternSet(
    [(sign, each) for sign, several in PATTERNS.items() for each in several] + [*TRACES.items()]
)
IN_INPUT = frozenset({"delimiter", "addresses_grader", "encoded"})
"""People do ask for ratings: of an input, only what is seldom honest counts."""


def scan(case: Case) -> tuple[Suspicion, ...]:
    """The signs that a case shows: each kind at most once for each field."""
    found: dict[tuple[Sign, str], Suspicion] = {}
    for field, text in _fields(case):
        for each in _signs(field, text):
            if field != "input" or each.sign in IN_INPUT:
                found.setdefault((each.sign, each.field), each)
        if len(found) >= SUSPICIONS_MAX:
            break
    return tuple(found.values())[:SUSPICIONS_MAX]


def _signs(field: str, text: str) -> Iterator[Suspicion]:
    # RE2 reads UTF-8, which has no lone surrogates.
    encoded = text.encode("utf-8", "replace")
    plain: set[str] = set()
    traces: list[tuple[str, Any]] = []
    for name, pattern in _SIGNS_AND_TRACES.found(encoded):
        if name in TRACES:
            traces.append((name, pattern))
        else:
            plain.add(name)
            yield Suspicion(cast("Sign", name), field, _shown(pattern, encoded))
    if field == "output" and is_master_key(text):
        yield Suspicion("master_key", field, excerpt(text))
    for encoding, trace in traces:
        for said in decoded(encoding, trace, encoded):
            hidden = said.encode("utf-8", "replace")
            for name, pattern in _SIGNS.found(hidden):
                if name not in plain:
                    shown = f"{encoding}: {_shown(pattern, hidden)}"
                    yield Suspicion("encoded", field, excerpt(shown))
                    return


def _shown(pattern: Any, text: bytes) -> str:
    match = pattern.search(text)
    return excerpt(match.group().decode("utf-8", "replace"))


def is_master_key(text: str) -> bool:
    """Whether an output consists of nothing but openers and punctuation."""
    if not text.strip() or len(text) > MASTER_KEY_CHARS_MAX:
        return False
    return MASTER_KEY.fullmatch(text.encode("utf-8", "replace")) is not None


def excerpt(text: str) -> str:
    """The beginning of a text on one line of ASCII, at most 80 characters."""
    shown = ascii(text[:EXCERPT_CHARS_MAX])[1:-1]
    return shown if len(shown) <= EXCERPT_CHARS_MAX else shown[: EXCERPT_CHARS_MAX - 3] + "..."


def _fields(case: Case) -> Iterator[tuple[str, str]]:
    """The texts of a case by the names of their fields, the output first."""
    yield from _said("output", case.output)
    for text in case.context:
        yield "context", text
    for text in case.reference:
        yield "reference", text
    for name, tools in (("tools", case.tools), ("expected_tools", case.expected_tools)):
        if tools:
            yield name, as_json(tools)
    if case.input is not None:
        yield from _said("input", case.input)


def _said(field: str, text: Text) -> Iterator[tuple[str, str]]:
    """A text, or all that each message holds; an input's system messages are the caller's own."""
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

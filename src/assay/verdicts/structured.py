"""The verdict in a JSON object of the answer: the one object that holds it, and holds it once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from assay.domain.evaluation import JudgeSign
from assay.verdicts.marked import MANIPULATION, seen
from assay.verdicts.tolerant_json import Pairs, read_value

OBJECTS_MAX = 200
"""Objects of an answer that are looked at."""

REASON_KEYS = ("reasoning", "explanation", "reason", "feedback", "rationale")

_OPENING = re.compile(r"[{\[]")
_BEFORE = re.compile(r"(?:\A|\n|```(?:\w{1,12})?)[ \t*]*\{?\Z")
_AFTER = re.compile(r"[ \t]*(?:;|\.|\})?[ \t]*(?:\Z|\n|```)")
_INTRODUCED = re.compile(
    r"\b(?:output|response|answer|candidate|submission|text|reference|example|expected|correct|"
    r"claims?|says?|said|contains?|ends?|begins?|format|schema|should|could|would|instead|draft|"
    r"first|initially|earlier|previous|quoted?|planted|injected|like|such as|e\.g\.)\b"
    r"[^\n]{0,80}:\s*"
    r"(?:```\w{0,12}\s*)?\Z|"
    r"\b(?:wrote|writes|says|said|contains|claims|planted|quotes|reads|"
    r"(?:ends|begins|closes)[ ]with)"
    r"\s{1,4}(?:```\w{0,12}\s*)?\Z",
    re.IGNORECASE,
)
"""A line that says of the object after it that it is not the judge's own verdict."""


_WRAPPERS = frozenset(
    {
        *("evaluation", "verdict", "result", "answer", "output", "response"),
        *("judgement", "judgment", "arguments"),
    }
)
"""Names under which a judge's own object may stand."""


class Contradiction(Exception):
    """The answer gives two different verdicts, or one in a form that cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object that stands by itself in the answer, with its place."""

    pairs: Pairs
    start: int
    end: int

    @property
    def explanation(self) -> str:
        values = (value for key in REASON_KEYS for value in self.pairs.values_of(key))
        return next((value for value in values if isinstance(value, str)), "")

    @property
    def manipulation(self) -> JudgeSign | None:
        return seen(self.pairs.values_of(MANIPULATION))


def own_object(text: str, keys: Sequence[str]) -> Found | None:
    """The object with the verdict; None where there is none.

    An object within a line of prose is a quotation. Remarks around the one object are allowed;
    one wrapper is looked through, a list of one or an object of one member. Raises
    `Contradiction` where several objects have one of the keys, or a list has several objects.
    """
    found: list[Found] = []
    for value, start, end in _values(text):
        found += [Found(pairs, start, end) for pairs in _holders(value, keys)]
    own = [
        item for item in found if not _INTRODUCED.search(text, max(0, item.start - 200), item.start)
    ]
    if not own:
        return None
    verdicts = [[item.pairs.values_of(key) for key in keys] for item in own]
    if any(verdict != verdicts[0] for verdict in verdicts):
        raise Contradiction
    return own[-1]


def verdict_in(pairs: Pairs, keys: Sequence[str]) -> Any:
    """The one value that the keys have; raises `Contradiction` for two, and `KeyError` for none."""
    values = [value for key in keys for value in pairs.values_of(key)]
    if not values:
        raise KeyError(keys[0])
    if any(value != values[0] for value in values):
        raise Contradiction
    return values[0]


def _holders(value: Any, keys: Sequence[str]) -> Iterator[Pairs]:
    """The objects within a value that have one of the keys, through one wrapper at the most."""
    if isinstance(value, Pairs):
        if any(value.values_of(key) for key in keys):
            yield value
        else:
            # A call of the tool, written as text, has its name beside its arguments.
            members = [pair for pair in value if pair[0] != "name" or isinstance(pair[1], Pairs)]
            name, inner = members[0] if len(members) == 1 else ("", None)
            if name.lower() not in _WRAPPERS or not isinstance(inner, Pairs):
                return
            if any(inner.values_of(key) for key in keys):
                yield inner
    elif isinstance(value, list):
        inside = [item for item in value if isinstance(item, Pairs)]
        holding = [item for item in inside if any(item.values_of(key) for key in keys)]
        if len(value) > 1 and holding:
            raise Contradiction
        yield from holding


def _values(text: str) -> Iterator[tuple[Any, int, int]]:
    """The objects and lists that stand by themselves, outermost, in order."""
    at = 0
    for _ in range(OBJECTS_MAX):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        start = opening.start()
        try:
            value, end = read_value(text, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        # An object that begins its line and ends it is the judge's own; one within is quoted.
        begins = _BEFORE.search(text, max(0, start - 24), start) is not None
        if begins and _AFTER.match(text, end):
            yield value, start, end
        at = end

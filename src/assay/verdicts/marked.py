"""The marked lines: `VERDICT 7f3a: 4`, with a marker that is random for each call.

It stops every forgery that was written beforehand, because no text can know the marker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from assay.domain.evaluation import MANIPULATIONS, JudgeSign

WORD = "VERDICT"
DIRECTION = "\u200e\u200f\u061c\u2066\u2067\u2068\u2069"
"""Invisible marks that set numbers and Latin words apart in a text from right to left."""
MANIPULATION = "manipulation"
"""The name of the line, or the member of an object, in which a judge says what it saw."""

_MARKED = re.compile(
    rf"{WORD}[ \t*_`<\[(]{{1,6}}(?P<marker>[A-Za-z0-9]{{1,64}})\b[\])>*_` \t]{{0,4}}"
    r"(?:(?<=[ \t])(?P<name>[A-Za-z0-9_]{1,40})[ \t*_`]{0,4}(?=[:：=]))?"
    r"(?:[:：=-][ \t*_`]{0,6}(?:(?<=[:：])\n)?|(?<=[ \t]))(?P<value>[^\n]*)",
    re.IGNORECASE,
)
"""Any marked line: to compile a pattern for each marker would take longer than all the rest."""


@dataclass(frozen=True, slots=True)
class MarkedLine:
    """A marked line: the name it carries ('' for the only verdict), its value, and its place."""

    name: str
    value: str
    start: int
    end: int
    is_last: bool
    is_complete: bool
    """Whether a line end follows, so that no more of the value can have been cut off."""


def marked_lines(text: str, marker: str) -> list[MarkedLine]:
    """Every line of the text that carries the marker, in order."""
    return [
        MarkedLine(
            (line["name"] or "").lower(),
            _bare(line["value"]),
            line.start("value"),
            line.end("value"),
            is_last=not text[line.end() :].strip(" \t\n*_`"),
            is_complete=text[line.end() : line.end() + 1] == "\n",
        )
        for line in _MARKED.finditer(text)
        if line["marker"].lower() == marker.lower()
    ]


_SEEN = re.compile(
    rf"(?:{WORD}[ \t*_`<\[(]{{1,6}}(?P<marker>[A-Za-z0-9]{{1,64}})\b[\])>*_`: \t]{{1,6}}|"
    rf"^[ \t>*_`#-]{{0,8}}){MANIPULATION}[*_` \t]{{0,4}}[:：=](?P<value>(?:(?!\b{WORD}\b)[^\n])*)",
    re.IGNORECASE | re.MULTILINE,
)


def without_manipulation(text: str, marker: str) -> tuple[str, list[str]]:
    """The text with blanks for each line about manipulation, and what the marked ones say.

    No place in the text moves. A line without the marker is blanked too, but it says nothing.
    """
    said: list[str] = []

    def blank(line: re.Match[str]) -> str:
        value = _bare(line["value"].strip().rstrip(".")).lower()
        marked = bool(marker) and (line["marker"] or "").lower() == marker.lower()
        if not marked and value not in MANIPULATIONS:
            return line[0]
        said.extend([value] if marked else [])
        return " " * len(line[0])

    return _SEEN.sub(blank, text), said


def seen(said: Sequence[object]) -> JudgeSign | None:
    """The one sign that a judge names; None for none, for several, and for what is not offered."""
    values = {str(value).strip().lower().replace(" ", "_") for value in said}
    return next((sign for sign in get_args(JudgeSign) if values == {sign}), None)


def _bare(value: str) -> str:
    """The value without what wraps it or its whole line."""
    value = value.strip(" \t*_`\"'|}" + DIRECTION)
    return value[:-1].removeprefix("<") if value.endswith(">") else value


def marked_line(marker: str, name: str, value: str) -> str:
    """The line that a judge is asked for; `value` says what may stand there."""
    return f"{WORD} {marker}{' ' + name if name else ''}: <{value}>"

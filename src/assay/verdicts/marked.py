"""The marked line: `VERDICT 7f3a: 4`, with a marker that is random for each call.

It stops every forgery that was written beforehand, because no text can know the marker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WORD = "VERDICT"

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


def _bare(value: str) -> str:
    """The value without what wraps it or its whole line."""
    value = value.strip(" \t*_`\"'|}")
    return value[:-1].removeprefix("<") if value.endswith(">") else value


def marked_line(marker: str, name: str, value: str) -> str:
    """The line that a judge is asked for; `value` says what may stand there."""
    return f"{WORD} {marker}{' ' + name if name else ''}: <{value}>"

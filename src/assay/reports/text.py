"""Callers' text in a line, and tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

MARKUP = re.compile(r"([\\`*_{}\[\]<>()#|~&!])")
"""What Markdown would read as markup in a text."""


def printable(text: str) -> str:
    """The text on one line, with control characters escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def printable_lines(text: str) -> str:
    """The text with its lines and tabs, and other control characters escaped."""
    return "\n".join(
        "\t".join(map(printable, line.split("\t")))
        for line in text.replace("\r\n", "\n").split("\n")
    )


def shortened(text: str, chars_max: int) -> str:
    """The beginning of a text, which says how much is left out."""
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}… ({len(text) - chars_max:,} more characters)"


def plain(text: str) -> str:
    """The text in one line of Markdown, in which nothing is markup."""
    return MARKUP.sub(r"\\\1", printable(text))


def markdown_table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a table."""
    yield "| " + " | ".join(headings) + " |"
    yield "|" + " --- |" * len(headings)
    for cells in rows:
        yield "| " + " | ".join(map(plain, cells)) + " |"


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table in columns: words to the left, numbers to the right."""
    shown = [headings, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    numeric = [all(row[place][:1].isdigit() for row in shown[1:]) for place in range(len(headings))]
    for row in shown:
        cells = zip(row, widths, numeric, strict=True)
        aligned = (f"{cell:{'>' if right else '<'}{width}}" for cell, width, right in cells)
        yield "  ".join(aligned).rstrip()

"""The parts of a judge's free text that a stated verdict is read in."""

from __future__ import annotations

import re

CLAUSE_CHARS_MAX = 300
SPACES = re.compile(r"[^\S\n]+")


def plain(text: str) -> str:
    """The text with runs of spaces as one, so that patterns over it stay linear."""
    return SPACES.sub(" ", text).strip()


def clause_before(text: str, at: int, ends: str) -> str:
    """What stands before `at`, back to the nearest of the characters that end a clause.

    A full stop within a number or a word ends nothing.
    """
    piece = text[max(0, at - CLAUSE_CHARS_MAX) : at]
    for place in range(len(piece) - 1, -1, -1):
        if piece[place] in ends and (piece[place] == "\n" or piece[place + 1 : place + 2] in " \n"):
            return piece[place + 1 :]
    return piece


def edge_lines(text: str) -> tuple[str, str]:
    """The first and the last line that are not blank."""
    lines = [line for line in text.splitlines() if line.strip()]
    return (lines[0], lines[-1]) if lines else ("", "")

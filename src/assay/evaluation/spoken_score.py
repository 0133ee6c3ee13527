"""The score that a judge states in free text: the last one stated, not the first number."""

from __future__ import annotations

import re

_NUMBER = r"[-+\u2212]?(?:[0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15})"
_END = r"(?![\w%]|[.,][0-9]|\s?[-–—]\s?[0-9])"
_NOUN = r"(?:score|rating|grade|result|mark|verdict|evaluation|assessment|points?)"
_DECOR = r"[\s*_`\"'“”\[({<]*"
_SCALE = r"(?:\s*(?:out\s+of|/|of)\s*(?P<{name}>[0-9]{{1,15}}(?:\.[0-9]{{1,15}})?)\b)?"

_STATED = re.compile(
    # Score: 4 · **Rating**: 4/5 · [RESULT] 4 · Score (1-5) = 4 · the final score is 4
    rf"\b{_NOUN}\b[\s*_`\"'\]]*(?:\([^()\n]{{0,40}}\)[\s*_`\"']*)?"
    rf"(?:[:=\]\u2192]|\bis\b|\bwould be\b|\s[-–—]\s)"
    rf"(?:\s+(?:a|an|therefore|thus|clearly)\b)?{_DECOR}"
    rf"(?P<stated>{_NUMBER}){_SCALE.format(name='stated_of')}{_END}"
    # two brackets: [[4]]
    rf"|\[\[\s*(?P<boxed>{_NUMBER})\s*\]\]"
    # I give it a 4 · deserves a score of 4 · I would rate this response 4
    rf"|\b(?:give|gives|giving|rate|rated|rates|assign|assigned|award|awarded|deserves?|merits?"
    rf"|receives?|gets?|earns?|score|scored|scores)\b(?:\s+(?!not\b)[\w'*]+){{0,6}}?\s+{_DECOR}"
    rf"(?P<given>{_NUMBER}){_SCALE.format(name='given_of')}{_END}"
    # 4 out of 5 · 3.5/5
    rf"|(?<![\w./-])(?P<share>{_NUMBER})\s*(?:out\s+of|/)\s*"
    rf"(?P<share_of>[0-9]{{1,15}}(?:\.[0-9]{{1,15}})?){_END}(?!/)",
    re.IGNORECASE,
)
_HYPOTHETICAL = re.compile(
    r"\b(?:not|never|cannot|if|instead\s+of|rather\s+than|could|to\s+(?:get|earn|reach|receive|"
    r"achieve|deserve|merit|score)|would\s+(?:need|have|require|be\s+needed)|scale|range|between"
    r"|(?:min|max)imum)\b|n't\b|n’t\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\s+(?!and\b|because\b|as\b|since\b|for\b|stars?\b|points?\b)[a-z]+", re.IGNORECASE
)
_ALONE = re.compile(
    rf"[\s*_`#>\"'\[({{<]*(?P<number>{_NUMBER}){_SCALE.format(name='of')}"
    r"[\s*_`\"'\])}>.]*(?:stars?|points?)?[\s*_`.]*",
    re.IGNORECASE,
)
_SENTENCE_START = re.compile(r"[.!?]\s+|\n")
SENTENCE_CHARS_MAX = 300


def spoken_score(text: str, high: float) -> float | None:
    """The last score stated in the text; None where none is, or where it is on another scale.

    It is not checked against the range: a statement out of range is still the judge's last word,
    and the caller must refuse it rather than fall back on an earlier one.
    """
    last: re.Match[str] | None = None
    for match in _STATED.finditer(text):
        if _states(match, text, high):
            last = match
    if last is not None:
        kind = last.lastgroup or ""
        kind = kind.removesuffix("_of")
        of = last.groupdict().get(f"{kind}_of")
        if of is not None and float(of) != high:
            return None
        return _value(last.group(kind))
    return _alone(text, high)


def _states(match: re.Match[str], text: str, high: float) -> bool:
    """Whether the match is a verdict, not a condition, a scale or a count of something else."""
    before = _sentence_before(text, match.start())
    if match.group("share") is not None:
        if float(match.group("share_of")) != high or _COUNTED.match(text, match.end()):
            return False
        return _HYPOTHETICAL.search(before) is None
    if match.group("given") is not None:
        return _HYPOTHETICAL.search(before + match.group()) is None
    return True


def _sentence_before(text: str, at: int) -> str:
    piece = text[max(0, at - SENTENCE_CHARS_MAX) : at]
    return _SENTENCE_START.split(piece)[-1]


def _alone(text: str, high: float) -> float | None:
    """The number that stands alone on the last line, or on the first, or is the whole text."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in (lines[-1], lines[0]) if lines else ():
        match = _ALONE.fullmatch(line)
        if match:
            of = match.group("of")
            return _value(match.group("number")) if of is None or float(of) == high else None
    return None


def _value(number: str) -> float:
    return float(number.replace("\u2212", "-"))

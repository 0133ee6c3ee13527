"""The score that a judge states in free text: the last one stated, not the first number."""

from __future__ import annotations

import re

from assay.verdicts.sentences import clause_before, edge_lines

_NUMBER = r"[-+\u2212]?(?:[0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15})"
_END = r"(?![\w%]|[.,][0-9]|\s?[-–—]\s?[0-9]|\s(?:or|to)\s[0-9])"
"""A number ends here: not within a word, a longer number, a range or a percentage."""
_DECOR = r"[\s*_`\"'“”\[({<]*"


def _scale(name: str) -> str:
    """The scale that a number is out of, as in 4/5 and 4 out of 5."""
    return rf"(?:\s*(?:out\s+of|/|of)\s*(?P<{name}>[0-9]{{1,15}}(?:\.[0-9]{{1,15}})?)\b)?"


_LABELLED = (
    # Score: 4 · **Rating**: 4/5 · [RESULT] 4 · Score (1-5) = 4 · Final grade - 4
    r"\b(?:score|rating|grade|mark|result|verdict|evaluation|assessment)\b[\s*_`\"'\]]*"
    r"(?:\([^()\n]{0,40}\)[\s*_`\"']*)?(?:[:=\]\u2192]|\s[-–—]\s)"
    rf"{_DECOR}(?P<labelled>{_NUMBER}){_scale('labelled_of')}{_END}"
)
_BOXED = rf"\[\[\s*(?P<boxed>{_NUMBER})\s*\]\]"
_SAID = (
    # the final score is 4 · I would rate it 4 · it deserves a score of 4 · I give this a 4
    r"\b(?:(?:score|rating|grade|mark)\s+(?:is|would\s+be|of)|(?:rate|rated)(?:\s[\w']+){1,4}?"
    r"|(?:give|giving|assign|award|deserves?|merits?|receives?|gets?|earns?)"
    r"(?:\s(?:it|this|the|a|an))(?:\s[\w']+){0,5}?)"
    rf"\s+(?:(?:a|an|therefore|thus|clearly)\s)?{_DECOR}"
    rf"(?P<said>{_NUMBER}){_scale('said_of')}{_END}"
)
_SHARE = (
    # 4 out of 5 · 3.5/5
    rf"(?<![\w./-])(?P<share>{_NUMBER})\s*(?:out\s+of|/)\s*"
    rf"(?P<share_of>[0-9]{{1,15}}(?:\.[0-9]{{1,15}})?){_END}(?!/)"
)
_STATEMENT = re.compile(f"{_LABELLED}|{_BOXED}|{_SAID}|{_SHARE}", re.IGNORECASE)

_HYPOTHETICAL = re.compile(
    r"\b(?:not|never|cannot|if|unless|whether|instead\s+of|rather\s+than|could|"
    r"to\s+(?:get|earn|reach|receive|achieve|deserve|merit|score)|"
    r"would\s+(?:need|have|require|get|earn|receive)|required\s+(?:by|for)|scale|range|between|"
    r"(?:min|max)imum)\b|n['’]t\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\s+(?!and\b|because\b|as\b|since\b|for\b|overall\b|stars?\b|points?\b)[a-z]", re.IGNORECASE
)
"""A thing after 4 out of 5 (facts, examples) makes it a count, not a score."""
_ALONE = re.compile(
    rf"[\s*_`#>\"'\[({{<]*(?P<number>{_NUMBER}){_scale('of')}"
    r"[\s*_`\"'\])}>.]*(?:stars?|points?)?[\s*_`.]*",
    re.IGNORECASE,
)


def free_text_score(text: str, high: float) -> float | None:
    """The last score stated in the text; None where none is, or where it is on another scale.

    It is not checked against the range: a statement out of range is still the judge's last word,
    and the caller must refuse it rather than fall back on an earlier one.
    """
    first_line, last_line = edge_lines(text)
    if match := _ALONE.fullmatch(last_line):
        return _on_scale(match["number"], match["of"], high)
    last: re.Match[str] | None = None
    for match in _STATEMENT.finditer(text):
        if _states(match, text, high):
            last = match
    if last is not None:
        kind = next(k for k in ("labelled", "boxed", "said", "share") if last[k] is not None)
        return _on_scale(last[kind], None if kind == "boxed" else last[f"{kind}_of"], high)
    if match := _ALONE.fullmatch(first_line):
        return _on_scale(match["number"], match["of"], high)
    return None


def _states(match: re.Match[str], text: str, high: float) -> bool:
    """Whether the match is a verdict, not a condition, a scale or a count of something else."""
    if match["labelled"] is not None or match["boxed"] is not None:
        return True
    if _HYPOTHETICAL.search(clause_before(text, match.start(), ".!?\n") + match.group()):
        return False
    if match["share"] is not None:
        return float(match["share_of"]) == high and not _COUNTED.match(text, match.end())
    return True


def _on_scale(number: str, of: str | None, high: float) -> float | None:
    if of is not None and float(of) != high:
        return None
    return float(number.replace("\u2212", "-"))

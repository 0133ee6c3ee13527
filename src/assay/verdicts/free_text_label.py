"""The label that a judge states in free text: the last one stated, not the first one named."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from assay.verdicts.sentences import clause_before, edge_lines

_DECOR = r"[\s*_`\"'“”‘’\[({<]*"
_CLOSE = r"[\s*_`\"'”’\])}>.!]*"
_ADVERBS = r"(?:\s(?!not\b|no\b|neither\b|never\b)[\w-]+(?<!n't)){0,3}?"
_BETTER = (
    r"(?:better|best|superior|preferable|preferred|stronger|"
    r"(?:winner|(?:correct|right)\s(?:choice|answer)))"
)
_NOUN = (
    r"(?:verdict|answer|label|result|rating|grade|classification|category|class|decision|"
    r"judge?ment|conclusion|choice|winner|preference|evaluation|assessment|output|response)"
)
_CHOOSING = r"(?:choose|chose|prefer|select|pick|label|classify|rate|conclude)"
_OPENERS = frozenset({"yes", "no", "true", "false"})
"""Labels that open an answer: Yes, because …"""

_UNSAID = re.compile(
    r"\b(?:not|never|neither|nor|cannot|hardly|if|whether|unless|unclear|unsure)\b|n['’]t\b",
    re.IGNORECASE,
)
_CLAUSE_ENDS = ".!?;:,\n"


def free_text_label(text: str, words: Mapping[str, str]) -> str | None:
    """The last verdict stated in the text, in the judge's spelling; None where none is stated.

    `words` has the case-folded spellings of the labels. A bare mention is no verdict, and
    neither is a negation or a condition.
    """
    patterns = _Patterns.of(tuple(words))
    first_line, last_line = edge_lines(text)
    if match := patterns.alone.fullmatch(last_line):
        return match.group(1)
    last: str | None = None
    for match in patterns.statement.finditer(text):
        before = clause_before(text, match.start(), _CLAUSE_ENDS)
        said = before if match.group(1) is not None else before + match.group()
        if _UNSAID.search(said):
            continue
        last = next(group for group in match.groups() if group is not None)
    if last is None and (match := patterns.alone.fullmatch(first_line)):
        return match.group(1)
    if last is None and (match := patterns.opening.match(text)):
        return match.group(1)
    return last


def closing_label(text: str, words: Collection[str]) -> str | None:
    """The word that the last line consists of, or ends in after naming the verdict.

    Safe for labels that are words of the language too, such as the letter A.
    """
    if not words:
        return None
    line = edge_lines(text)[1]
    label = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    named = rf"(?:.*\b{_NOUN}\b[\s*_`\"'\]]*(?:[:=\]\u2192]|\bis\b|\s[-–—]\s))?"
    match = re.fullmatch(rf"{named}[\s*_`#>\"'“\[({{<]*({label}){_CLOSE}", line, re.IGNORECASE)
    if match is None or _UNSAID.search(line):
        return None
    return match.group(1).casefold()


class _Patterns:
    """The expressions for one set of labels."""

    def __init__(self, words: tuple[str, ...]) -> None:
        label = _alternatives(words)
        opener = _alternatives(tuple(word for word in words if word in _OPENERS))
        self.alone = re.compile(rf"[\s*_`#>\"'“\[({{<]*{label}{_CLOSE}", re.IGNORECASE)
        self.opening = re.compile(
            rf"{_DECOR}(?:{opener}[*_`\"'”]*(?:[,;:]|\s[-–—]|\sbecause\b)|{label}[*_`\"'”]*[.!]\s)"
            if opener
            else rf"{_DECOR}{label}[*_`\"'”]*[.!]\s",
            re.IGNORECASE,
        )
        self.statement = re.compile(
            "|".join(
                (
                    # Output (b) is clearly better · Output (b) wins
                    (
                        rf"{label}[*_`\"'”]*(?:,[^,.\n]{{0,80}},)?\s(?:(?:is|was|would\sbe|seems|appears)"
                        rf"{_ADVERBS}\s(?:an?\s|the\s)?{_BETTER}\b(?!\s(?:if|had|when)\b)|wins\b)"
                    ),
                    # The better output is Output (b) · Verdict: pass · [RESULT] pass
                    (
                        rf"\b{_NOUN}\b[\s*_`\"'\]]*(?:[:=\]\u2192]|\bis\b|\s[-–—]\s)"
                        rf"(?:\s(?:therefore|thus|clearly))?{_DECOR}{label}"
                    ),
                    rf"\[\[\s*{label}\s*\]\]",
                    # I choose Output (b) · I would label it polite
                    rf"\b{_CHOOSING}\b(?:\s[\w,]+){{0,4}}?{_DECOR}{label}",
                )
            ),
            re.IGNORECASE,
        )

    @staticmethod
    @lru_cache(maxsize=256)
    def of(words: tuple[str, ...]) -> _Patterns:
        return _Patterns(words)


def _alternatives(words: tuple[str, ...]) -> str:
    """The labels as a group: longest first, whole words only, any white space within."""
    spellings = []
    for word in sorted(words, key=len, reverse=True):
        body = r"\s+".join(re.escape(part) for part in word.split())
        before = r"(?<!\w)" if word[0].isalnum() else ""
        after = r"(?![\w-])" if word[-1].isalnum() else ""
        spellings.append(f"{before}{body}{after}")
    return f"({'|'.join(spellings)})" if spellings else ""

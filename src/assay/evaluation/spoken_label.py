"""The label that a judge states in free text: the last one stated, not the first one named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

_DECOR = r"[\s*_`\"'“”‘’\[({<]*"
_ADVERBS = r"(?:\s+(?!not\b|no\b|neither\b|never\b)[\w-]+(?<!n't)){0,3}?"
_BETTER = (
    r"(?:better|best|superior|preferable|preferred|correct\s+choice|winner|right\s+choice|stronger)"
)
_NOUN = (
    r"(?:verdict|answer|label|result|rating|grade|classification|category|class|decision|"
    r"judge?ment|conclusion|choice|winner|preference|evaluation|assessment|output|response)"
)
_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|cannot|hardly)\b|n['’]t\b|\bno\s+(?:clear|better)\b", re.IGNORECASE
)
_SENTENCE_START = re.compile(r"[.!?]\s+|\n")
SENTENCE_CHARS_MAX = 300


def spoken_label(text: str, words: Mapping[str, str]) -> str | None:
    """The last verdict stated in the text, as a key of `words`; None where none is stated.

    `words` maps case-folded spellings with single spaces to labels. A bare mention is no
    verdict, and neither is a negation.
    """
    statements = _statements(tuple(words))
    last: str | None = None
    for match in statements.finditer(text):
        if _NEGATION.search(_clause(text, match)):
            continue
        last = next(group for group in match.groups() if group is not None)
    return _alone(text, tuple(words)) or last


@lru_cache(maxsize=256)
def _statements(words: tuple[str, ...]) -> re.Pattern[str]:
    label = _alternatives(words)
    return re.compile(
        # Output (b) is clearly better · Output (b) wins
        rf"{label}[\s*_`\"'”]*(?:,[^,.\n]{{0,80}},)?\s+"
        rf"(?:(?:is|was|would\s+be|seems|appears|remains){_ADVERBS}\s+(?:the\s+)?{_BETTER}\b|wins\b)"
        # the better output is Output (b) · my verdict: pass · [RESULT] pass
        rf"|\b{_NOUN}\b[\s*_`\"'\]]*(?:[:=\]\u2192]|\bis\b|\s[-–—]\s)(?:\s*(?:therefore|thus|clearly))?{_DECOR}{label}"
        # [[pass]]
        rf"|\[\[\s*{label}\s*\]\]"
        # I choose Output (b) · I would label it polite
        rf"|\b(?:choose|chose|prefer|select|pick|label|classify|rate|conclude)\b(?:\s+[\w,]+){{0,4}}?{_DECOR}{label}",
        re.IGNORECASE,
    )


def _alternatives(words: Iterable[str]) -> str:
    """The labels as a group: longest first, whole words only, any white space within."""
    spellings = []
    for word in sorted(words, key=len, reverse=True):
        body = r"\s+".join(re.escape(part) for part in word.split())
        before = r"(?<!\w)" if word[0].isalnum() else ""
        after = r"(?!\w)" if word[-1].isalnum() else ""
        spellings.append(f"{before}{body}{after}")
    return f"({'|'.join(spellings)})"


def _clause(text: str, match: re.Match[str]) -> str:
    """The sentence up to the end of the statement."""
    piece = text[max(0, match.start() - SENTENCE_CHARS_MAX) : match.start()]
    return _SENTENCE_START.split(piece)[-1] + match.group()


@lru_cache(maxsize=256)
def _lone(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(
        rf"[\s*_`#>\"'“\[({{<]*{_alternatives(words)}[\s*_`\"'”\])}}>.!]*", re.IGNORECASE
    )


def _alone(text: str, words: tuple[str, ...]) -> str | None:
    """The label that stands alone on the last line of the text, or on its first."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in (lines[-1], lines[0]) if lines else ():
        match = _lone(words).fullmatch(line)
        if match:
            return match.group(1)
    return None

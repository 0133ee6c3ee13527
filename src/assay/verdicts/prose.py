"""The verdict in free prose: a plain sentence that states it, and none that states another.

A sentence states a verdict if it says nothing else: it holds one value, a word of judging, and
otherwise only words of a small vocabulary (`I would give this response a score of 4`). With any
other word, such as `clarity`, `almost` or `previous`, it is about something else. A reason may
follow: `because …`.

The verdict stands in the first or the last line of the answer, or in one that concludes. Any
other statement, wherever it stands, must say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from assay.verdicts.assertion import is_assertion, is_corrected, without_quotations
from assay.verdicts.forms import AnyScale, Mark
from assay.verdicts.scales import NOT_OFFERED, LabelScale, NumberScale
from assay.verdicts.vocabulary import (
    ASIDE,
    WORD,
    is_heading_of_verdict,
    lowered,
    names_verdict,
    spaced,
    states_verdict,
)

PROSE_CHARS_MAX = 20_000
"""Of a longer answer only the end is read as prose."""
SENTENCE_CHARS_MAX = 500
"""A longer sentence states more than a verdict."""
VALUES_MAX = 300
"""Values of an answer that are looked at; an answer with more of them is unreadable."""
HEADING_WORDS_MAX = 6
"""A line of more words is no heading."""

_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\b[Nn]o\.)\s+(?=[^a-z\s])|(?<=\b[Nn]o\.)\s+(?=[^\d\s])|(?<=[。！？])"
)
_CLAUSE = re.compile(
    r"[;；]|[,，]\s?(?=(?:so|but|and|hence|thus|therefore|resulting in)\b)|\s(?=(?:but|so|why)\b)|"
    r"based on (?:the|this|my) (?:above|evaluation|analysis|assessment|comparison)\b[^,]{0,80},",
    re.IGNORECASE,
)
"""Where a sentence goes on with a new statement."""
_CONCLUDES = re.compile(
    r"[ \t]{0,9}(?:therefore|thus|overall|in conclusion|in summary)\b", re.IGNORECASE
)
"""A line that begins so states the verdict wherever it stands."""
_TAGS = "score|rating|grade|verdict|label|answer|result|judge?ment|b|i|u|em|strong|p|br"
_EMPHASIS = re.compile(
    rf"[*`\"“”„«»「」『』$\\_✅✔✓☑🟢🟡⚠️👍➡•·★☆⭐\ufe0f\u200b]|\bboxed(?=\{{)|</?(?:{_TAGS})>"
)
"""Signs that give a word weight and no meaning."""
_LINE_START = re.compile(r"[\s#+-]{0,12}(?:\d{1,2}[.)]\s)?")

_NUMBER_START = re.compile(
    r"(?<![.,'/+−-])(?<![^\W\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af])[+−-]?\.?[0-9]|(?<!\w)(?:zero|one|two|three|four|five|"
    r"six|seven|eight|nine|ten)\b",
    re.IGNORECASE,
)
_SIDE = spaced(
    r"\b(?:the )?"
    r"(?:output|response|answer|assistant|option|model|summary|candidate|text|completion) "
    r"\(?(?P<name>[A-Za-z0-9_-]{1,20})\)?(?!\w)|"
    r"(?<!\w)\(?(?P<letter>[AB])\)?(?= (?:is|wins|over)\b|[.,!:]|\s{0,9}\Z)|"
    r"\bthe (?P<ordinal>first|second)(?: (?:output|response|answer|one))?"
    r"(?= (?:is|wins)\b|[.,!]|\s{0,9}\Z)"
)
_OPENER = spaced(
    r"[)\]}]{0,2}\s{0,3}(?:[,:–—-]{1,2}\s{0,3}(?:it|this|that|the \w{1,20}|there)\b|"
    r"[,;:]?\s{1,3}(?:because|since|as)\b|(?<=\w\w)[.]\s{1,3}(?!I\b|\d)\w)"
)
"""After a label that opens an answer: `Yes, because …`, `B: the second summary …`."""
_RESULT_MARK = re.compile(r"\[RESULT\]\W{0,9}\Z", re.IGNORECASE)
_OPENING = re.compile(r"[ (\[{]{0,9}")
_NAME = re.compile(r"[\w ]{1,30}:\s{1,3}")
_TURNS = re.compile(r"\b(?:but|however|though|although|yet|also|except|actually)\b", re.IGNORECASE)


class _TooMany(Exception):
    """There are more values than are looked at."""


def stated_marks(text: str, scale: AnyScale) -> list[Mark]:
    """Every statement of the prose; none where neither its first nor its last line has one."""
    offset = max(0, len(text) - PROSE_CHARS_MAX)
    prose = without_quotations(text[offset:], lambda quoted: scale.parse(quoted) is not NOT_OFFERED)
    prose = _EMPHASIS.sub(lambda sign: " " * len(sign.group()), prose)
    lines = [
        line.span() for line in re.finditer(r"[^\n]+", prose) if line.group().strip(" #.-\r\t")
    ]
    try:
        by_line = [list(_in_line(prose, start, end, scale)) for start, end in lines]
    except _TooMany:
        return [Mark(NOT_OFFERED, 0, 0)]
    placed = bool(by_line and by_line[0])
    placed = placed or any(
        _CONCLUDES.match(prose, start) and found
        for (start, _), found in zip(lines, by_line, strict=True)
    )
    if len(lines) > 1 and by_line[-1]:
        placed = placed or not _is_headed(prose[slice(*lines[-2])], prose[slice(*lines[-1])])
    if not placed:
        return []
    marks = [mark for found in by_line for mark in found]
    if is_corrected(prose, marks[0].start):
        marks.append(Mark(NOT_OFFERED, 0, 0))
    return [Mark(mark.value, mark.start + offset, mark.end + offset) for mark in marks]


def stated_value(words: str, scale: AnyScale) -> Any:
    """The value of words that are nothing but a verdict: `4`, `4 (good)`, `b, because …`."""
    found = {mark.value for mark in stated_marks(f"Verdict: {words}", scale)}
    return found.pop() if len(found) == 1 else NOT_OFFERED


def frames(prose: str, mark: Mark, scale: AnyScale) -> bool:
    """Whether a mark that needs no noun stands as a statement: alone, or in a plain sentence."""
    start = max(prose.rfind("\n", 0, mark.start) + 1, mark.start - SENTENCE_CHARS_MAX)
    end = prose.find("\n", mark.end, mark.end + SENTENCE_CHARS_MAX)
    end = mark.end + SENTENCE_CHARS_MAX if end < 0 else end
    for sentence in _split(_SENTENCE_END, prose, _after(_LINE_START, prose, start), end):
        for clause_start, clause_end in _split(_CLAUSE, prose, *sentence):
            if clause_start <= mark.start < clause_end:
                before = _RESULT_MARK.sub("", prose[clause_start : mark.start])
                after = re.split(r"\]\]\s{1,9}(?=[A-Z])", prose[mark.end : clause_end])[0]
                return states_verdict(before, after, mark.value, scale, named=True)
    return False


def _is_headed(heading: str, line: str) -> bool:
    """Whether a short last line stands under a heading, and so says something about that alone."""
    heading = _SENTENCE_END.split(heading)[-1]
    words = lowered(heading)
    return (
        len(WORD.findall(line)) < HEADING_WORDS_MAX
        and len(words) <= HEADING_WORDS_MAX
        and heading.rstrip()[-1:] not in (*".!?。！？",)
        and not heading.lstrip().startswith(("- ", "+ "))
        and ":" not in heading.rstrip(" :")
        and not is_heading_of_verdict(words)
    ) or bool(re.search(r"\w\s{1,9}[0-9]{1,3}\s{0,9}\Z", heading))


def _in_line(prose: str, start: int, end: int, scale: AnyScale) -> Iterator[Mark]:
    start = min(end, _after(_LINE_START, prose, start))
    alone = _alone(prose[start:end], scale)
    if alone is not NOT_OFFERED:
        yield Mark(alone, start, end)
        return
    if isinstance(scale, LabelScale):
        yield from _opener(prose, start, scale)
    for sentence_start, sentence_end in _split(_SENTENCE_END, prose, start, end):
        # What a later clause says may take back what an earlier one did.
        *_, (clause_start, _) = _split(_CLAUSE, prose, sentence_start, sentence_end)
        yield from _in_clause(prose, clause_start, sentence_end, scale)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _split(pattern: re.Pattern[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for boundary in pattern.finditer(text, start, end):
        yield start, boundary.start()
        start = boundary.end()
    yield start, end


def _alone(line: str, scale: AnyScale) -> Any:
    """The value that is all of a line, but for a remark in parentheses."""
    for words in (line, ASIDE.sub("", line)):
        value = scale.parse(words)
        if value is NOT_OFFERED and isinstance(scale, LabelScale):
            sides = list(_sides(words[:SENTENCE_CHARS_MAX], 0, SENTENCE_CHARS_MAX, scale))
            if len(sides) == 1 and not f"{words[: sides[0].start]}{words[sides[0].end :]}".strip(
                " .:()"
            ):
                value = sides[0].value
        if value is not NOT_OFFERED and "?" not in line:
            return value
    return NOT_OFFERED


def _in_clause(prose: str, start: int, end: int, scale: AnyScale) -> Iterator[Mark]:
    if end - start > SENTENCE_CHARS_MAX or prose[start:end].rstrip()[-1:] in ("?", "？"):
        return
    values = list(islice(_values(prose, start, end, scale), VALUES_MAX))
    if len(values) == VALUES_MAX:
        raise _TooMany
    for mark in values:
        if isinstance(scale, LabelScale) and any(
            other.end <= mark.start and other.value != mark.value for other in values
        ):
            continue  # one of several
        before, after = prose[start : mark.start], prose[mark.end : end]
        if states_verdict(before, after, mark.value, scale) and is_assertion(prose, start, start):
            yield mark


def _values(prose: str, start: int, end: int, scale: AnyScale) -> Iterator[Mark]:
    """Every place of a clause where a value stands, offered or not."""
    if isinstance(scale, NumberScale):
        for place in _NUMBER_START.finditer(prose, start, end):
            if (number := scale.match(prose, place.start())) is not None:
                yield Mark(number.value, number.start, number.end)
        return
    yield from _sides(prose, start, end, scale)
    for label in scale.matches(prose, start, end):
        yield Mark(label.value, label.start, label.end)


def _opener(prose: str, start: int, scale: LabelScale) -> Iterator[Mark]:
    """The label that opens a line, if nothing after it turns: `Yes, because …`, `B: it is …`."""
    name = _NAME.match(prose, start)
    if name is not None and names_verdict(lowered(name.group())):
        start = name.end()
    stated = scale.match(prose, _after(_OPENING, prose, start))
    if stated is None or stated.value is NOT_OFFERED:
        return
    if _OPENER.match(prose, stated.end) and not _TURNS.search(prose, stated.end):
        yield Mark(stated.value, stated.start, stated.end)


def _sides(prose: str, start: int, end: int, scale: LabelScale) -> Iterator[Mark]:
    """Every place that names one of two outputs."""
    if scale.pair is None:
        return
    for side in _SIDE.finditer(prose, start, end):
        label = _side_label(side, scale, scale.pair)
        if label is not None:
            yield Mark(label, side.start(), side.end())


def _side_label(side: re.Match[str], scale: LabelScale, pair: tuple[str, str]) -> str | None:
    if side["ordinal"] is not None:
        return pair[side["ordinal"].lower() == "second"]
    name = side["name"] or side["letter"]
    for label in pair:
        if name == label or (not scale.exact and name.casefold() == label.casefold()):
            return label
    if scale.exact:
        return None
    return {"a": pair[0], "b": pair[1], "1": pair[0], "2": pair[1]}.get(name.lower())

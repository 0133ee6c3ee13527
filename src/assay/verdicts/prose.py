"""The verdict in free prose, by consensus: every statement that is found says the same.

A statement asserts a value of the scale (`assertion.py` says when). One of a value that is not
offered, one that is taken back, or two that differ make the answer unreadable.

All patterns run in linear time: their repetitions are bounded and do not overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from assay.verdicts.assertion import (
    CLAUSE_CHARS_MAX,
    is_assertion,
    is_corrected,
    without_quotations,
)
from assay.verdicts.forms import AnyScale, Mark
from assay.verdicts.scales import NOT_OFFERED, ORNAMENT, LabelScale, Match, NumberScale

PROSE_CHARS_MAX = 20_000
"""Of a longer answer only the end is read as prose."""
CANDIDATES_MAX = 300
"""Places of one kind that are looked at; an answer with more of them is unreadable."""
OTHER_LABEL_WORDS_MAX = 3
"""More words after `Verdict:` are a sentence, and no label that was not offered."""

_NOUN = re.compile(
    r"\b(?:verdict|score|rating|grade|mark|label|classification|category|class|decision|"
    r"judge?ment|conclusion|choice|winner|preference|evaluation|assessment|answer|result|total|"
    r"bewertung|note|gesamtnote|punktzahl|urteil|ergebnis|évaluation|jugement|puntuación|puntaje|"
    r"calificación|veredicto|nota|pontuação|avaliação|punteggio|voto|valutazione|verdetto)(?!\w)|"
    r"评分|得分|分数|打分|结论|判定|评价|评级|最终答案|裁决|評価|スコア|得点|点数|結論|"
    r"점수|평점|판정|평가|결론|الدرجة|التقييم|النتيجة|الحكم",
    re.IGNORECASE,
)
_LINK = re.compile(
    r"[*_`\"'”’\]]{0,6}(?:[ \t]{0,3}\([^()\n]{0,40}\))?[*_`\"']{0,6}[ \t]{0,3}"
    r"(?P<link>:|=|→|->|：|[-–—](?=[ \t])|(?:is|was|of|would[ ]be|will[ ]be|remains|ist|lautet|"
    r"est|es|é|è)(?=[ \t*_`\"'(])|为|是|は|은|는)[\s*_`\"'“‘(\[{<]{0,8}",
    re.IGNORECASE,
)
_DECOR = re.compile(r"[\s*_`\"'“”‘’(\[{<✅❌✔✘✓✗🟢🔴🟡⚠️👍👎➡→$\\]{0,10}")
_FILLER = re.compile(
    r"(?:(?:a|an|the|therefore|thus|clearly|hence|definitely|simply|just|about|at|eine?|un|une)[ ]"
    r"[*_`\"'“(]{0,4}){0,2}",
    re.IGNORECASE,
)
_PLAIN_QUALIFIERS = frozenset(
    [
        *(
            "final",
            "overall",
            "total",
            "combined",
            "aggregate",
            "holistic",
            "resulting",
            "complete",
        ),
        *("definitive", "official", "last", "correct", "best", "right", "appropriate", "clear"),
        *("better", "my", "the", "a", "an", "this", "its", "our", "is", "in", "with", "of", "to"),
        *("and", "as", "for", "so", "thus", "hence", "therefore", "conclusion", "verdict"),
        *("giving", "gives", "give", "deserves", "earns", "receives", "gets", "awarding", "award"),
        *("assign", "assigning", "assigned", "output's", "answer's", "response's"),
        *("endgültige", "gesamte", "insgesamt", "finale", "globale"),
        *("最终", "综合", "总体", "总", "総合", "最終", "최종", "종합", "النهائي", "النهائية"),
    ]
)
"""Words before a noun that leave it the judge's own score: not `style score`, `maximum score`."""
_OF_THE_RUBRIC = re.compile(
    r"\b(?:criteri(?:a|on)|requirements?|standards?|conditions?|description|descriptor|definition|"
    r"level|bar|threshold)[ ](?:for|of)(?:[ ](?:a|an|the))?\Z",
    re.IGNORECASE,
)
"""The criteria for a score of 5 are the rubric's."""
_LABEL_ENDS = re.compile(
    r"[*_`\"'”’)\]}>]{0,8}(?:[ \t]{0,3}(?:[.,;:!\n()\[|/—–。，；！（]|-[ ]|\Z|[^\w\s])|"
    r"[ ](?:because|since|as|for|with|given|due|here|overall|in|on|by|and|but|while|although|"
    r"despite|based|without|under|at|when|this)\b|[ ][A-Z])"
)
"""A label is over here, and is no word of a longer phrase."""

_SUBJECT = (
    r"(?:it|this|that|the|my|output|response|answer|text|summary|essay|submission|translation|"
    r"completion|reply|message|model'?s|student'?s|assistant'?s|candidate'?s|given|whole|overall)"
)
_SCORING = re.compile(
    r"\b(?:(?:I|we)(?:['’]?d|[ ]would|[ ]will|['’]ll|[ ]must|[ ]have[ ]to)?[ ]say|"
    r"(?:(?:I|we|would|will|['’]d|['’]ll|must|therefore|thus|hence|so)[ ](?:rate|score|grade|mark)|"
    r"rated|scored|graded|rating|scoring|grading|give|gives|gave|giving|award|assign|awarding|"
    rf"assigning)(?:[ ]{_SUBJECT}){{0,4}}(?:[ ](?:as|at|with|about))?|"
    r"deserves?|merits?|receives?|gets?|earns?|scores|warrants?|"
    r"(?:ich[ ])?(?:vergebe|gebe)|je[ ](?:lui[ ])?donne|le[ ]doy|dou|assegno)"
    r"[ ](?:(?:a|an|the|eine?|un|une)[ ])?[*_`\"'“(]{0,4}",
    re.IGNORECASE,
)
_SHARE = re.compile(
    r"(?<![\w./-])[0-9]{1,4}(?:\.[0-9]{1,4})?[*_`]{0,4}[ ]{0,2}(?:/|out[ ]of)[ ]{0,2}"
    r"[*_`]{0,4}[0-9]"
)
_PART = re.compile(
    r"(?P<words>[A-Za-z][\w' -]{0,40}?)[*_`]{0,4}(?:[ ]?\([^()]{0,40}\))?[ ]?[:=–—-][ *_`]{0,4}\Z"
)
"""What a share is a share of: `Clarity: 4/5`."""
_COUNTED = re.compile(
    r"[ ](?!(?:and|because|as|since|for|overall|out|in|on|points?|stars?|but|given|due|here|so|at|"
    r"with|by|if|based|rather|instead|than|from|to|this|which|when|while|although|though|or|"
    r"marks?|again|only|Punkte?n?|Sterne?|von|puntos|de|sur)\b)[a-z]",
    re.IGNORECASE,
)
"""A thing after a number makes it a count, not a score."""

_CHOOSING = re.compile(
    r"\b(?:I|we|my|and|would|will|must|to|clearly|therefore|thus|so|hence|overall|conclude)[ ]"
    r"(?:(?:would|will|have|to|must|therefore|thus|clearly|definitely|strongly|slightly)[ ]){0,3}"
    r"(?:choose|chose|prefer|preferred|select|selected|pick|picked|label|classify|judge|deem|rate|"
    r"call|consider|mark|go[ ]with|vote[ ]for|side[ ]with)[ ]"
    r"(?:(?:it|this|that|the|output|response|answer|text|as|to|be|a|an)[ ]){0,4}[*_`\"'“(]{0,4}",
    re.IGNORECASE,
)
_IN_ONE_RESPECT = re.compile(
    r"[*_`\"'”’)]{0,4}[ ](?:in|on|regarding|for[ ]its|when[ ]it)\b", re.IGNORECASE
)
_OUTPUT = r"(?:output|response|answer|assistant|option|model|summary|candidate|text|completion)"
_SIDE = re.compile(
    rf"\b{_OUTPUT}[ ]\(?[\"'*]{{0,3}}(?P<name>[A-Za-z0-9_-]{{1,20}})[\"'*]{{0,3}}\)?|"
    rf"\b(?P<letter>[AB])(?=[*_`\"')]{{0,4}}[ ](?:is|wins|was))|"
    rf"\b[Tt]he[ ](?P<ordinal>first|second)(?:[ ]{_OUTPUT}|[ ]one)?",
    re.IGNORECASE,
)
_BETTER = re.compile(
    r"[*_`\"'”’)]{0,4}[ ](?:(?:is|was|seems|appears(?:[ ]to[ ]be)?|would[ ]be|remains)"
    r"(?:[ ](?!not\b|no\b|never\b|neither\b|hardly\b)[\w-]{1,20}){0,3}?"
    r"[ ](?:(?:the|a|an)[ ])?(?:(?:clear|overall)[ ])?"
    r"(?:better|best|superior|preferable|preferred|stronger|winner|correct[ ]choice|right[ ]choice)"
    r"(?:[ ](?:one|output|response|answer|choice|option|assistant|overall|here))?|wins)(?!\w)",
    re.IGNORECASE,
)
_BETTER_OVERALL = re.compile(
    r"[*_`\"'”’)]{0,4}(?:[ ]than[ ](?:the[ ])?"
    r"(?:other|output|response|answer|assistant|option)?[ ]?[\w()\"']{1,12}"
    r"(?:[ ](?:one|output|response|answer))?)?(?:\s{0,3}(?:[.!\n,;:)]|\Z|[-–—])|"
    r"[ ](?:because|since|as|for|due|overall|given|here|and|by)\b)",
    re.IGNORECASE,
)
"""Better without an aspect: not `better in tone`, not `better written`."""
_PREFERRED = re.compile(
    r"\b(?:better|best|preferred|superior|stronger|winning|correct|right)[ ]"
    rf"(?:{_OUTPUT}|one|choice|option)(?:[ ]overall)?[ ](?:is|=)[ ](?:therefore[ ]|thus[ ]|"
    r"clearly[ ])?[*_`\"'(]{0,4}\Z|"
    r"\b(?:choose|chose|prefer|select|pick|go[ ]with|vote[ ]for|winner[ ]is|verdict[ ]is|"
    r"answer[ ]is|choice[ ]is|conclude[ ]that)[ ][*_`\"'(]{0,4}\Z|"
    r"\b(?:winner|verdict|choice|preference|decision|judge?ment|answer)[*_`\"' ]{0,4}[:=]"
    r"[ \n*_`\"'(]{0,6}\Z",
    re.IGNORECASE,
)
_SIDE_ENDS = re.compile(
    r"[*_`\"'”’)]{0,6}(?:\s{0,3}[.,;:!\n(]|\Z|\s{1,3}(?:because|since|as|over|due|for)\b)"
)
_REMARK = re.compile(r"\s\([^()]{1,200}\)[\s*_.]{0,8}\Z")
_LINE_DECOR = re.compile(r"^[\s*_`\"'“(\[#]{0,8}", re.MULTILINE)
_OPENS = re.compile(r"[*_`\"'”)\]]{0,4}(?:[,;:]|[.!]\s|\s[-–—]\s|\s(?:because|since)\b)")


class _TooMany(Exception):
    """There are more candidates for a statement than are looked at."""


def stated_marks(text: str, scale: AnyScale) -> list[Mark]:
    """Every value that the prose asserts; one that is not offered is `NOT_OFFERED`."""
    offset = max(0, len(text) - PROSE_CHARS_MAX)
    prose = without_quotations(text[offset:], lambda quoted: scale.parse(quoted) is not NOT_OFFERED)
    try:
        marks = [*_named(prose, scale), *_worded(prose, scale), *_alone(prose, scale)]
    except _TooMany:
        return [Mark(NOT_OFFERED, 0, 0)]
    if not marks and isinstance(scale, LabelScale):
        marks = list(_openers(prose, scale))
    if marks and is_corrected(prose, marks[0].start):
        marks.append(Mark(NOT_OFFERED, 0, 0))
    return [Mark(mark.value, mark.start + offset, mark.end + offset) for mark in marks]


def _candidates(pattern: re.Pattern[str], prose: str) -> Iterator[re.Match[str]]:
    for number, found in enumerate(pattern.finditer(prose)):
        if number == CANDIDATES_MAX:
            raise _TooMany
        yield found


def _named(prose: str, scale: AnyScale) -> Iterator[Mark]:
    """`Final score: 4`, `the verdict is pass`, `结论：pass`, `a score of 2`."""
    for noun in _candidates(_NOUN, prose):
        link = _LINK.match(prose, noun.end())
        if link is None or not _is_own_noun(prose, noun.start()):
            continue
        if link["link"] == "of" and isinstance(scale, LabelScale):
            continue  # the answer of Output (b)
        at = _after(_DECOR, prose, link.end())
        stated = scale.match(prose, at) or scale.match(
            prose, _after(_DECOR, prose, _after(_FILLER, prose, at))
        )
        if not is_assertion(prose, noun.start(), at):
            continue
        if stated is not None and _is_whole(prose, stated, scale):
            yield Mark(stated.value, stated.start, stated.end)
        elif stated is None and _states_another(prose, noun.group(), link["link"], at, scale):
            yield Mark(NOT_OFFERED, at, at)


def _is_whole(prose: str, stated: Match[Any], scale: AnyScale) -> bool:
    """Whether nothing after a value makes it a count, a choice or a word of a longer phrase."""
    if isinstance(scale, NumberScale):
        return not _COUNTED.match(prose, stated.end)
    return stated.value is not NOT_OFFERED and _LABEL_ENDS.match(prose, stated.end) is not None


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _is_own_noun(prose: str, at: int) -> bool:
    """Whether nothing before the noun makes it another's: `Style score`, `maximum score`."""
    line_start = max(prose.rfind("\n", 0, at) + 1, at - CLAUSE_CHARS_MAX)
    before = prose[line_start:at]
    cut = max(before.rfind(end) for end in ".!?;:,()|。：，")
    words = before[cut + 1 :].strip(" \t*_`#>-–—\"'“").split()
    if not words:
        return True
    last = words[-1].strip("*_`\"'“”()[]#").lower()
    if last and last not in _PLAIN_QUALIFIERS:
        return False
    return _OF_THE_RUBRIC.search(" ".join(words[-4:])) is None


def _states_another(prose: str, noun: str, link: str, at: int, scale: AnyScale) -> bool:
    """Whether a verdict is stated that is not on the scale: `Verdict: partially correct`."""
    if link not in ":=：" or noun.lower() not in ("verdict", "score", "rating", "grade", "label"):
        return False
    rest = prose[at : at + 80].partition("\n")[0].strip(ORNAMENT)
    if isinstance(scale, NumberScale):
        return re.match(r"[-+]?[0-9０-９]", rest) is not None
    return rest.isascii() and 0 < len(rest.split()) <= OTHER_LABEL_WORDS_MAX


def _worded(prose: str, scale: AnyScale) -> Iterator[Mark]:
    """`I rate it 4`, `it deserves a 2`, `4 out of 5`; `I choose B`, `Output (b) is better`."""
    if isinstance(scale, NumberScale):
        yield from _scored(prose, scale)
        yield from _shares(prose, scale)
    else:
        yield from _chosen(prose, scale)
        yield from _preferred(prose, scale)


def _scored(prose: str, scale: NumberScale) -> Iterator[Mark]:
    for verb in _candidates(_SCORING, prose):
        stated = scale.match(prose, verb.end())
        if stated is None or _COUNTED.match(prose, stated.end):
            continue
        if is_assertion(prose, verb.start(), stated.start):
            yield Mark(stated.value, stated.start, stated.end)


def _shares(prose: str, scale: NumberScale) -> Iterator[Mark]:
    for share in _candidates(_SHARE, prose):
        stated = scale.match(prose, share.start())
        if stated is None or stated.value is NOT_OFFERED or _COUNTED.match(prose, stated.end):
            continue
        if _is_of_the_whole(prose, share.start()) and is_assertion(
            prose, share.start(), stated.start
        ):
            yield Mark(stated.value, stated.start, stated.end)


def _is_of_the_whole(prose: str, at: int) -> bool:
    """Whether a share such as 4/5 is not that of a named part: `Clarity: 4/5`."""
    line = prose[max(prose.rfind("\n", 0, at) + 1, at - CLAUSE_CHARS_MAX) : at]
    part = _PART.search(line, max(0, len(line) - 100))
    if part is None:
        return True
    last = part["words"].split()[-1]
    at = part.start("words") + part["words"].rfind(last)
    return _NOUN.fullmatch(last) is not None and _is_own_noun(line, at)


def _chosen(prose: str, scale: LabelScale) -> Iterator[Mark]:
    for verb in _candidates(_CHOOSING, prose):
        stated = scale.match(prose, verb.end())
        if stated is None or stated.value is NOT_OFFERED:
            continue
        whole = not _IN_ONE_RESPECT.match(prose, stated.end)
        if whole and is_assertion(prose, verb.start(), stated.start):
            yield Mark(stated.value, stated.start, stated.end)


def _preferred(prose: str, scale: LabelScale) -> Iterator[Mark]:
    """`Output (b) is better`, `Response A wins`, `the better output is Output (b)`."""
    for side in _sides(prose, scale):
        better = _BETTER.match(prose, side.end)
        if better is not None and _BETTER_OVERALL.match(prose, better.end()):
            if is_assertion(prose, side.start, better.end()):
                yield side
        elif (
            _PREFERRED.search(prose, max(0, side.start - 60), side.start)
            and _SIDE_ENDS.match(prose, side.end)
            and is_assertion(prose, side.start, side.start)
        ):
            yield side


def _sides(prose: str, scale: LabelScale) -> Iterator[Mark]:
    """Every place that names one of two outputs; of other labels, those of several letters."""
    if scale.pair is None:
        for number, stated in enumerate(scale.matches(prose)):
            if number == CANDIDATES_MAX:
                raise _TooMany
            if stated.end - stated.start > 1 and stated.value is not NOT_OFFERED:
                yield Mark(stated.value, stated.start, stated.end)
        return
    for side in _candidates(_SIDE, prose):
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


def _alone(prose: str, scale: AnyScale) -> Iterator[Mark]:
    """The first or the last line, where it is nothing but a value."""
    lines = [line for line in re.finditer(r"[^\n]+", prose) if line.group().strip(ORNAMENT)]
    for line in {line.start(): line for line in (*lines[:1], *lines[-1:])}.values():
        words = line.group()
        if words.rstrip(" *_").endswith("?"):
            continue
        remark = _REMARK.search(words[-220:])
        bare = words[: len(words) - len(remark.group())] if remark else words
        value = scale.parse(words)
        if value is NOT_OFFERED:
            value = scale.parse(bare)
        if value is NOT_OFFERED and isinstance(scale, LabelScale):
            sides = list(_sides(words[:CLAUSE_CHARS_MAX], scale))
            if len(sides) == 1:
                around = words[: sides[0].start] + bare[sides[0].end :]
                value = NOT_OFFERED if around.strip(ORNAMENT) else sides[0].value
        if value is not NOT_OFFERED:
            yield Mark(value, line.start(), line.start() + len(bare))


def _openers(prose: str, scale: LabelScale) -> Iterator[Mark]:
    """`Yes, because …`, `B: the second …`: the label that opens the answer, and no other line."""
    found: list[Mark] = []
    for line in _LINE_DECOR.finditer(prose):
        stated = scale.match(prose, line.end())
        if stated is None or stated.value is NOT_OFFERED:
            continue
        if _OPENS.match(prose, stated.end):
            found.append(Mark(stated.value, stated.start, stated.end))
    opens = found and not prose[: found[0].start].strip(ORNAMENT)
    if opens and len({mark.value for mark in found}) == 1:
        yield found[0]

"""The verdict in free prose, by consensus: every statement that is found says the same.

A statement asserts a value of the scale. What is negated, hypothetical, reported, quoted, about
another subject or one aspect, an example or a legend asserts nothing. A statement of a value that
is not offered, a correction, or two that differ make the answer unreadable.

All patterns run in linear time: repetitions are bounded and do not overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from assay.verdicts.forms import AnyScale, Mark
from assay.verdicts.scales import NOT_OFFERED, ORNAMENT, LabelScale, NumberScale

PROSE_CHARS_MAX = 20_000
"""Of a longer answer only the end is read as prose."""
CLAUSE_CHARS_MAX = 300

_LATIN_NOUNS = (
    "verdict|score|rating|grade|mark|label|classification|category|class|decision|judge?ment|"
    "conclusion|choice|winner|preference|evaluation|assessment|answer|result|total|"
    "bewertung|note|gesamtnote|punktzahl|urteil|ergebnis|"
    "évaluation|jugement|puntuación|puntaje|calificación|veredicto|nota|pontuação|avaliação|"
    "punteggio|voto|valutazione|verdetto"
)
_OTHER_NOUNS = (
    "评分|得分|分数|打分|结论|判定|评价|评级|最终答案|裁决|評価|スコア|得点|点数|判定|結論|점수|평점|판정|"
    "평가|결론|الدرجة|التقييم|النتيجة|الحكم"
)
_NOUN = re.compile(rf"\b(?:{_LATIN_NOUNS})(?!\w)|(?:{_OTHER_NOUNS})", re.IGNORECASE)
_CONNECTED = re.compile(
    r"[*_`\"'”’\]]{0,6}(?:[ \t]{0,3}\([^()\n]{0,40}\))?[*_`\"']{0,6}[ \t]{0,3}"
    r"(?P<link>:|=|→|->|：|[-–—](?=[ \t])|(?:is|was|of|would[ ]be|will[ ]be|remains|ist|lautet|est|es|é|è|"
    r"für[ ]mich)(?=[ \t*_`\"'(])|为|是|は|은|는|:)"
    r"[\s*_`\"'“‘(\[{<]{0,8}"
)
_FILLERS = re.compile(
    r"(?:(?:a|an|the|therefore|thus|clearly|hence|definitely|simply|just|about|at|eine?|un|une)[ ]"
    r"[*_`\"'“(]{0,4}){0,2}",
    re.IGNORECASE,
)
_DECOR = re.compile(r"[\s*_`\"'“”‘’(\[{<✅❌✔✘✓✗🟢🔴🟡⚠️👍👎➡→$\\]{0,10}")
_SUBJECT = (
    r"(?:it|this|that|the|my|output|response|answer|text|summary|essay|submission|translation|"
    r"completion|reply|message|model'?s|student'?s|assistant'?s|candidate'?s|given|whole|overall)"
)
_SCORING = re.compile(
    r"\b(?:(?:I|we)(?:['’]?d|[ ]would|[ ]will|['’]ll|[ ]must|[ ]have[ ]to)?[ ]say|"
    rf"(?:rated?|scored?|graded?|rating|scoring|grading|give|gives|gave|giving|award|assign|awarding|"
    rf"assigning)(?:[ ]{_SUBJECT}){{0,4}}(?:[ ](?:as|at|with|about))?|"
    r"(?:deserves?|merits?|receives?|gets?|earns?|scores|scored|warrants?)|"
    rf"(?:ich[ ])?(?:vergebe|gebe)|je[ ](?:lui[ ])?donne|le[ ]doy|dou|assegno)"
    r"[ ](?:(?:a|an|the|eine?|un|une)[ ])?[*_`\"'“(]{0,4}",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"[ ](?!(?:and|because|as|since|for|overall|out|in|on|points?|stars?|but|given|due|here|so|at|"
    r"with|by|if|due|based|rather|instead|than|from|to|this|which|when|while|although|though|or|"
    r"marks?|again|only|Punkte?n?|Sterne?|von|points|puntos|de|sur)\b)[a-z]",
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
_BETTER = re.compile(
    r"[*_`\"'”’)]{0,4}[ ](?:(?:is|was|seems|appears(?:[ ]to[ ]be)?|would[ ]be|remains)"
    r"(?:[ ](?!not\b|no\b|never\b|neither\b|hardly\b)[\w-]{1,20}){0,3}?"
    r"[ ](?:(?:the|a|an)[ ])?(?:(?:clear|overall)[ ])?"
    r"(?:better|best|superior|preferable|preferred|stronger|winner|correct[ ]choice|right[ ]choice)"
    r"(?:[ ](?:one|output|response|answer|choice|option|assistant|overall|here))?|wins)(?!\w)"
)
_BETTER_OVERALL = re.compile(
    r"[*_`\"'”’)]{0,4}(?:[ ]than[ ](?:the[ ])?(?:other|output|response|answer|assistant|option)?[ ]?"
    r"[\w()\"']{1,12}(?:[ ](?:one|output|response|answer))?)?"
    r"(?:\s{0,3}(?:[.!\n,;:)]|\Z|[-–—])|[ ](?:because|since|as|for|due|overall|given|here|and|by)\b)"
)
"""`better` without an aspect: not `better in tone`, not `better written`."""

_HYPOTHETICAL = re.compile(
    r"\b(?:if|unless|whether|would[ ]have|could|might|may|should|had[ ](?:it|the)|were[ ]it|"
    r"to[ ](?:get|earn|reach|receive|achieve|deserve|merit|be|obtain|score)[ ]|in[ ]order[ ]to|"
    r"would[ ](?:need|have|require|get|earn|receive|deserve)|instead[ ]of|rather[ ]than|needs?[ ]to|"
    r"required|falls?[ ]short|wenn|falls|si|se)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|never|cannot|neither|nor|hardly|no[ ]longer|without|nicht|kein\w{0,2}|pas|non)\b|n['’]t\b",
    re.IGNORECASE,
)
_REPORTED = re.compile(
    r"\b(?:claims?|claimed|claiming|says?[ ]of[ ]itself|states?[ ]that|stated|argues?|asserts?|according[ ]to|"
    r"reviewers?|annotators?|previous(?:ly)?|earlier|initially|at[ ]first|another|others?|someone|"
    r"candidate['’]?s?|itself|(?:asks?|asked|demands?|requests?|tells?|instructs?|wants?)\b|"
    r"quotes?|quoted|planted|injected|pretends?|alleged(?:ly)?|"
    r"example|instance|e\.g|reference|ideal|gold|expected|baseline|sample|threshold|maximum|minimum|"
    r"highest|lowest|possible|passing|pass[ ]mark|average|median|scale|range|between|rubric|"
    r"criterion[ ]\d|allowed|options?|format|legend|out[ ]of[ ]which)\b|参考|满分|最高|例如|満点|만점",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"\b(?:on[ ](?:second|further)[ ]thought|on[ ]reflection|scratch[ ]that|let[ ]me[ ](?:re|think|check)|"
    r"correction|make[ ]that|I[ ]mean[t]?|wait|hmm|hold[ ]on|I[ ](?:revise|retract|take[ ]that[ ]back)|"
    r"(?:actually|no|sorry|well)[,:]?[ ](?:it['’]?s[ ]|that['’]?s[ ]|a[ ]|an[ ]|rather[ ]|more[ ]like[ ]|"
    r"I['’]d[ ]say[ ]){0,3}[*_\"'(]{0,3}(?:\d|one\b|two\b|three\b|four\b|five\b|pass|fail|yes\b|"
    r"[A-E]\b))",
    re.IGNORECASE,
)
_PLAIN_QUALIFIERS = frozenset(
    "final overall total my the a an this its our combined aggregate holistic resulting complete "
    "definitive official last therefore thus so hence is in with of to and as giving gives give "
    "deserves earns receives gets awarding assign award assigning assigned correct best right "
    "appropriate clear better endgültige gesamte insgesamt finale globale final_ 最终 综合 总体 总 "
    "総合 最終 최종 종합 النهائي النهائية answer's output's response's for conclusion verdict".split()
)
_SENTENCE_END = re.compile(r"[.!?。！？](?=[\s\"'”’)*_]|\Z)|\n")
_CLAUSE_END = ".!?;:,\n。！？；：，"
_QUOTED = re.compile(
    r"“[^”\n]{1,400}”|«[^»\n]{1,400}»|「[^」\n]{1,400}」|\"[^\"\n]{1,400}\"|"
    r"(?<![\w])'[^'\n]{1,400}'(?![\w])|`[^`\n]{1,400}`"
)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_BLOCKQUOTE = re.compile(r"^[ \t]{0,3}>[^\n]*", re.MULTILINE)
_INLINE_OBJECT = re.compile(r"\{[^{}]{0,2000}\}?")
_TABLE_ROW = re.compile(r"^[ \t]*\|[^\n]*\|[ \t]*$", re.MULTILINE)


def stated_marks(text: str, scale: AnyScale) -> list[Mark]:
    """Every value that the prose asserts; one that is not offered is `NOT_OFFERED`."""
    offset = max(0, len(text) - PROSE_CHARS_MAX)
    prose = _without_quotations(text[offset:], scale)
    marks = list(_asserted(prose, scale))
    if marks and _CORRECTED.search(prose, marks[0].start):
        marks.append(Mark(NOT_OFFERED, 0, 0))
    return [Mark(mark.value, mark.start + offset, mark.end + offset) for mark in marks]


def _asserted(prose: str, scale: AnyScale) -> Iterator[Mark]:
    found = False
    for mark in (*_named(prose, scale), *_worded(prose, scale), *_alone(prose, scale)):
        found = True
        yield mark
    if not found and isinstance(scale, LabelScale):
        yield from _openers(prose, scale)


def _without_quotations(text: str, scale: AnyScale) -> str:
    """The text with what it quotes blanked out; a quoted value alone keeps its words."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found.group())

    def blank_quoted(found: re.Match[str]) -> str:
        inside = found.group()[1:-1]
        return found.group() if scale.parse(inside) is not NOT_OFFERED else blank(found)

    for pattern in (_FENCED, _BLOCKQUOTE, _TABLE_ROW, _INLINE_OBJECT):
        text = pattern.sub(blank, text)
    return _QUOTED.sub(blank_quoted, text)


def _named(prose: str, scale: AnyScale) -> Iterator[Mark]:
    """`Final score: 4`, `the verdict is pass`, `结论：pass`, `a score of 2`."""
    for noun in _NOUN.finditer(prose):
        link = _CONNECTED.match(prose, noun.end())
        if link is None or not _is_own_noun(prose, noun.start()):
            continue
        at = link.end()
        at = _DECOR.match(prose, at).end()  # type: ignore[union-attr]  # it matches nothing too
        stated = scale.match(prose, at)
        if stated is None and (filler := _FILLERS.match(prose, at)):
            at = _DECOR.match(prose, filler.end()).end()  # type: ignore[union-attr]
            stated = scale.match(prose, at)
        if not _is_assertion(prose, noun.start(), at):
            continue
        if stated is not None:
            if isinstance(scale, NumberScale) and _COUNTED.match(prose, stated.end):
                continue
            if stated.value is NOT_OFFERED and isinstance(scale, LabelScale):
                continue  # one of a choice: a legend
            yield Mark(stated.value, stated.start, stated.end)
        elif _states_something_else(prose, noun.group(), link["link"], at, scale):
            yield Mark(NOT_OFFERED, at, at)


def _states_something_else(prose: str, noun: str, link: str, at: int, scale: AnyScale) -> bool:
    """Whether a verdict is stated that is not on the scale: `Verdict: partially correct`."""
    if link not in ":=：" or noun.lower() not in ("verdict", "score", "rating", "grade", "label"):
        return False
    rest = prose[at : at + 80].partition("\n")[0].strip(ORNAMENT)
    if isinstance(scale, NumberScale):
        return bool(re.match(r"[-+]?[0-9０-９]", rest))
    return 0 < len(rest.split()) <= 3 and rest.isascii()  # noqa: PLR2004 - a label, not a sentence


def _is_own_noun(prose: str, at: int) -> bool:
    """Whether nothing before the noun makes it another's score: `Style score`, `maximum score`."""
    line_start = max(prose.rfind("\n", 0, at), at - CLAUSE_CHARS_MAX, -1) + 1
    before = prose[line_start:at]
    cut = max(before.rfind(end) for end in ".!?;:,()|。：，")
    words = before[cut + 1 :].strip(" \t*_`#>-–—\"'“").split()
    if not words:
        return True
    last = words[-1].strip("*_`\"'“”()[]#").lower()
    return not last or last in _PLAIN_QUALIFIERS


def _is_assertion(prose: str, start: int, end: int) -> bool:
    """Whether what stands around a statement lets it stand: its sentence, and its own clause."""
    sentence_start = start
    lower = max(0, start - CLAUSE_CHARS_MAX)
    for boundary in _SENTENCE_END.finditer(prose, lower, start):
        sentence_start = boundary.end()
    if sentence_start == start:
        sentence_start = lower if not _SENTENCE_END.search(prose, lower, start) else start
    sentence = prose[sentence_start:end]
    if _HYPOTHETICAL.search(sentence) or _REPORTED.search(sentence):
        return False
    clause = sentence
    for index in range(len(sentence) - 1, -1, -1):
        if sentence[index] in _CLAUSE_END and index < start - sentence_start:
            clause = sentence[index + 1 :]
            break
    if _NEGATED.search(clause):
        return False
    following = _SENTENCE_END.search(prose, end, end + CLAUSE_CHARS_MAX)
    after = prose[end : following.end() if following else end + CLAUSE_CHARS_MAX]
    return not after.rstrip(" *_\"'").endswith(("?", "？")) and not re.search(
        r"\b(?:if|unless|had)\b", after
    )


def _worded(prose: str, scale: AnyScale) -> Iterator[Mark]:
    """`I rate it 4`, `it deserves a 2`, `4 out of 5`; `I choose B`, `Output (b) is better`."""
    if isinstance(scale, NumberScale):
        yield from _scored(prose, scale)
        return
    for verb in _CHOOSING.finditer(prose):
        stated = scale.match(prose, verb.end())
        if stated is not None and _is_assertion(prose, verb.start(), stated.start):
            if stated.value is not NOT_OFFERED and _is_whole_choice(prose, stated.end):
                yield Mark(stated.value, stated.start, stated.end)
    if scale.pair is not None:
        yield from _preferred(prose, scale)


def _is_whole_choice(prose: str, end: int) -> bool:
    return not re.match(r"[*_`\"'”’)]{0,4}[ ](?:in terms|in|on|regarding|for its|when it)\b", prose[end:end + 40])


def _scored(prose: str, scale: NumberScale) -> Iterator[Mark]:
    for verb in _SCORING.finditer(prose):
        stated = scale.match(prose, verb.end())
        if stated is None or _COUNTED.match(prose, stated.end):
            continue
        if _is_assertion(prose, verb.start(), stated.start):
            yield Mark(stated.value, stated.start, stated.end)
    for share in re.finditer(r"(?<![\w./-])[0-9]{1,4}(?:\.[0-9]{1,4})?[*_`]{0,4}[ ]{0,2}(?:/|out[ ]of)[ ]{0,2}[*_`]{0,4}[0-9]", prose):
        stated = scale.match(prose, share.start())
        if stated is None or stated.value is NOT_OFFERED or _COUNTED.match(prose, stated.end):
            continue
        if _is_own_share(prose, share.start()) and _is_assertion(prose, share.start(), stated.start):
            yield Mark(stated.value, stated.start, stated.end)


def _is_own_share(prose: str, at: int) -> bool:
    """Whether a share such as 4/5 is not that of a named part: `Clarity: 4/5`."""
    line = prose[max(prose.rfind("\n", 0, at) + 1, at - CLAUSE_CHARS_MAX) : at]
    label = re.search(r"([A-Za-z][\w' -]{0,40}?)[*_`]{0,4}(?:[ ]?\([^()]{0,40}\))?[ ]?[:=–—-][ *_`]{0,4}\Z", line)
    if label is None:
        return True
    words = label[1].split()
    return bool(words) and _NOUN.fullmatch(words[-1]) is not None and _is_own_noun(
        line, label.start(1) + label[1].rfind(words[-1])
    )


_PAIR_NOUN = r"(?:output|response|answer|assistant|option|model|summary|candidate|text|completion)"
_SIDE = re.compile(
    rf"(?:\b{_PAIR_NOUN}[ ]\(?[\"'*]{{0,3}}(?P<name>[A-Za-z0-9_-]{{1,20}})[\"'*]{{0,3}}\)?|"
    rf"\b(?P<letter>[AB])(?=[*_`\"')]{{0,4}}[ ](?:is|wins|was))|"
    rf"\b[Tt]he[ ](?P<ordinal>first|second)(?:[ ]{_PAIR_NOUN}|[ ]one)?)",
    re.IGNORECASE,
)


def _preferred(prose: str, scale: LabelScale) -> Iterator[Mark]:
    """`Output (b) is better`, `Response A wins`, `the better output is Output (b)`."""
    for side in _SIDE.finditer(prose):
        label = side_label(side, scale)
        if label is None:
            continue
        better = _BETTER.match(prose, side.end())
        if better is not None and _BETTER_OVERALL.match(prose, better.end()):
            if _is_assertion(prose, side.start(), better.end()):
                yield Mark(label, side.start(), better.end())
            continue
        lead = prose[max(0, side.start() - 60) : side.start()]
        named = re.search(
            r"\b(?:better|best|preferred|superior|stronger|winning|correct|right)[ ]"
            rf"(?:{_PAIR_NOUN}|one|choice|option)(?:[ ]overall)?[ ](?:is|=)[ ](?:therefore[ ]|thus[ ]|"
            r"clearly[ ])?[*_`\"'(]{0,4}\Z|"
            r"\b(?:choose|chose|prefer|select|pick|go[ ]with|vote[ ]for|winner[ ]is|verdict[ ]is|"
            r"answer[ ]is|choice[ ]is|conclude[ ]that)[ ][*_`\"'(]{0,4}\Z|"
            r"\b(?:winner|verdict|choice|preference|decision|judge?ment|answer)[*_`\"' ]{0,4}[:=]"
            r"[ \n*_`\"'(]{0,6}\Z",
            lead,
            re.IGNORECASE,
        )
        if named is not None and _is_assertion(prose, side.start(), side.start()):
            ended = re.match(r"[*_`\"'”’)]{0,6}(?:\s{0,3}[.,;:!\n(]|\Z|\s{1,3}(?:because|since|as|over|due|for)\b)", prose[side.end() :][:24])
            if ended is not None:
                yield Mark(label, side.start(), side.end())


def side_label(side: re.Match[str], scale: LabelScale) -> str | None:
    """The label of the output that a sentence names; None for a name that is not offered."""
    if scale.pair is None:
        return None
    if side["ordinal"] is not None:
        return scale.pair[side["ordinal"].lower() == "second"]
    name = side["name"] or side["letter"]
    for label in scale.pair:
        if name == label or (not scale.exact and name.casefold() == label.casefold()):
            return label
    letters = dict(zip("ab", scale.pair, strict=True)) | dict(zip("12", scale.pair, strict=True))
    return None if scale.exact else letters.get(name.lower())


def _alone(prose: str, scale: AnyScale) -> Iterator[Mark]:
    """The first or the last line, where it is nothing but a value."""
    lines = [line for line in re.finditer(r"[^\n]+", prose) if line.group().strip(ORNAMENT)]
    for line in {line.start(): line for line in (*lines[:1], *lines[-1:])}.values():
        words = line.group()
        remark = re.search(r"\s\([^()]{1,200}\)[\s*_.]*\Z", words)
        bare = words[: remark.start()] if remark else words
        if words.rstrip(" *_").endswith("?"):
            continue
        value = scale.parse(bare)
        if value is NOT_OFFERED and isinstance(scale, LabelScale):
            side = _SIDE.fullmatch(bare.strip(ORNAMENT.replace("(", "").replace(")", "")))
            value = NOT_OFFERED if side is None else side_label(side, scale) or NOT_OFFERED
        if value is not NOT_OFFERED:
            yield Mark(value, line.start(), line.start() + len(bare))


_OPENER = re.compile(r"^[\s*_`\"'“(\[#]{0,8}", re.MULTILINE)
_OPENS = re.compile(r"[*_`\"'”)\]]{0,4}(?:[,;:]|[.!]\s|\s[-–—]\s|\s(?:because|since)\b)")


def _openers(prose: str, scale: LabelScale) -> Iterator[Mark]:
    """`Yes, because …`, `B: the second …`: the label that opens the answer, and no other line."""
    found: list[Mark] = []
    for line in _OPENER.finditer(prose):
        stated = scale.match(prose, line.end())
        if stated is not None and stated.value is not NOT_OFFERED and _OPENS.match(prose, stated.end):
            found.append(Mark(stated.value, stated.start, stated.end))
    first = len(prose) - len(prose.lstrip())
    opens = found and not prose[first : found[0].start].strip(ORNAMENT)
    if opens and len({mark.value for mark in found}) == 1:
        yield found[0]

"""Whether a sentence asserts what it says: not quoted, negated, hypothetical, reported or asked."""

from __future__ import annotations

import re
from collections.abc import Callable

CLAUSE_CHARS_MAX = 300
"""How far around a statement its sentence is looked at."""

SENTENCE_END = re.compile(r"[.!?。！？](?=[\s\"'”’)*_]|\Z)|\n")
_CLAUSE_END = ".!?;:,\n。！？；：，"

QUOTATION = "\ufffc"

_HYPOTHETICAL = re.compile(
    r"\b(?:if|unless|whether|would[ ]have|could|might|may|should|had[ ](?:it|the)|were[ ]it|"
    r"to[ ](?:get|earn|reach|receive|achieve|deserve|merit|be|obtain|score)[ ]|in[ ]order[ ]to|"
    r"would[ ](?:need|have|require|get|earn|receive|deserve)|instead[ ]of|rather[ ]than|"
    r"needs?[ ]to|required|falls?[ ]short|wenn|falls|si|se)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|never|cannot|neither|nor|hardly|no[ ]longer|without|nicht|kein\w{0,2}|pas|non)\b|"
    r"n['’]t\b",
    re.IGNORECASE,
)
_REPORTED = re.compile(
    r"\b(?:claims?|claimed|claiming|stated|argues?|asserts?|according[ ]to|"
    r"(?:says?|said|writes?|wrote|reads?|states?)(?=[:,]|[ ]that\b|[ ]of[ ]itself)|"
    r"(?:some|many|others|people|users?|critics|readers)[ ](?:may[ ]|might[ ]|would[ ])?"
    r"(?:say|prefer|think|argue|find)|"
    r"reviewers?|annotators?|previous(?:ly)?|earlier|initially|at[ ]first|another|others?|someone|"
    r"candidate['’]?s?|itself|asks?|asked|demands?|requests?|tells?|instructs?|wants?|"
    r"quotes?|quoted|planted|injected|pretends?|alleged(?:ly)?)\b",
    re.IGNORECASE,
)
_ANOTHER_SUBJECT = re.compile(
    r"\b(?:example|instance|e\.g|reference|ideal|gold|expected|baseline|sample|threshold|"
    r"maximum|minimum|highest|lowest|possible|passing|pass[ ]mark|average|median|scale|range|"
    r"between|rubric|criterion[ ]\d|allowed|options?|format|legend|out[ ]of[ ]which)\b|"
    r"参考|满分|最高|例如|満点|만점",
    re.IGNORECASE,
)
_CONDITION_AFTER = re.compile(r"\b(?:if|unless|had)\b", re.IGNORECASE)
_CORRECTED = re.compile(
    r"\b(?:on[ ](?:second|further)[ ]thought|on[ ]reflection|scratch[ ]that|"
    r"let[ ]me[ ](?:re|think|check)|correction|make[ ]that|I[ ]meant?|wait|hmm|hold[ ]on|"
    r"I[ ](?:revise|retract|take[ ]that[ ]back)|"
    r"(?:too|rather)[ ](?:high|low|generous|harsh|strict)|"
    r"(?:lower|raise|lowering|raising|reduce|increase)[ ](?:it|the|my|this)\b|"
    r"deduct|subtract|minus|just[ ]kidding|at[ ]least,[ ]that|copied|"
    r"(?:this|the[ ]above)[ ](?:line|sentence|score|verdict|rating)\b|the[ ]above[ ]is\b|"
    r"that[ ](?:is|was)[ ](?:what|not[ ]my)\b|that[ ]would\b|"
    r"(?<=[.!?\n][ \n])actually\b|"
    r"(?:actually|no|sorry|well)[,:]?[ ](?:(?:it['’]?s|that['’]?s|a|an|rather|more[ ]like|"
    r"I['’]d[ ]say)[ ]){0,3}[*_\"'(]{0,3}(?:\d|one\b|two\b|three\b|four\b|five\b|pass|fail|yes\b|"
    r"[A-E]\b))",
    re.IGNORECASE,
)

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_BLOCKQUOTE = re.compile(r"^[ \t]{0,3}>[^\n]*", re.MULTILINE)
_STRUCK = re.compile(r"~~[^~\n]{1,400}~~")
_TABLE_ROW = re.compile(r"^[ \t]*\|[^\n]*\|[ \t]*$", re.MULTILINE)
_INLINE_OBJECT = re.compile(r"(?<!boxed)\{[^{}]{0,2000}\}?")
_QUOTED = re.compile(
    r"“[^”\n]{1,400}”|«[^»\n]{1,400}»|「[^」\n]{1,400}」|\"[^\"\n]{1,400}\"|"
    r"(?<![\w])'[^'\n]{1,400}'(?![\w])|`[^`\n]{1,400}`"
)


def without_quotations(text: str, is_value: Callable[[str], bool]) -> str:
    """The text with all that it quotes blanked out; places and line ends stay.

    Quoted are code blocks, block quotes, table rows, objects, what is struck out, and what is in
    quotation marks, but for a value alone: `Verdict: "pass"`. In a sentence `QUOTATION` stands for
    each character of a quotation.
    """
    for pattern in (_FENCED, _BLOCKQUOTE, _TABLE_ROW):
        text = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    for pattern in (_INLINE_OBJECT, _STRUCK):
        text = pattern.sub(_placeholder, text)
    return _QUOTED.sub(
        lambda found: found[0] if is_value(found[0][1:-1]) else _placeholder(found), text
    )


def _placeholder(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", QUOTATION, found.group())


def is_assertion(prose: str, start: int, end: int) -> bool:
    """Whether the sentence around a statement, and the clause before it, let it stand."""
    sentence = prose[_sentence_start(prose, start) : end]
    for pattern in (_HYPOTHETICAL, _REPORTED, _ANOTHER_SUBJECT):
        if pattern.search(sentence):
            return False
    lead = len(sentence) - (end - start)
    clause_start = max((sentence.rfind(mark, 0, lead) for mark in _CLAUSE_END), default=-1)
    if _NEGATED.search(sentence, clause_start + 1):
        return False
    ending = SENTENCE_END.search(prose, end, end + CLAUSE_CHARS_MAX)
    after = prose[end : ending.end() if ending else end + CLAUSE_CHARS_MAX]
    is_question = after.rstrip(" *_\"'\n").endswith(("?", "？"))
    return not is_question and not _CONDITION_AFTER.search(after)


def is_corrected(prose: str, start: int) -> bool:
    """Whether the judge takes something back after this place."""
    return _CORRECTED.search(prose, start) is not None


def _sentence_start(prose: str, at: int) -> int:
    start = max(0, at - CLAUSE_CHARS_MAX)
    for boundary in SENTENCE_END.finditer(prose, start, at):
        start = boundary.end()
    return start

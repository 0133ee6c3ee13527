"""Searches a case for structural signs of prompt injection: pure, and linear in its length.

No sign is a phrase of a natural language: honest texts say the same words. Whole texts are
searched for characters and tokens that are rare in them; only where one occurs does RE2 look for
the sign itself, in time that is linear as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import islice
from typing import Any

import re2  # type: ignore[import-untyped]  # the wheel ships no stubs

from assay.domain.case_text import answer_text, strings
from assay.domain.evaluation import Case, SearchSign, Suspicion
from assay.prompts.untrusted import TAG_NAME

FIELDS = (
    "output", "input", "reference", "context", "tools", "expected_tools", "fields", "sample",
)  # fmt: skip
EXCERPT_CHARS_MAX = 80
MASK = "[…]"
OCCURRENCES_MAX = 100
"""Occurrences of a rare character that are looked at one by one before the text is searched."""
TOKENS_MAX = 200
"""Control tokens of a text that are looked at."""
AROUND_BYTES = 200
"""How much text before and after a control token decides whether it is quoted."""
OPENERS_CHARS_MAX = 400

_ROLE = "(?:system|developer|user|human|assistant|model|tool|function|ipython)"
_ZERO_WIDTH = r"[\x{200b}-\x{200d}\x{2060}-\x{2064}\x{feff}]"
_TAGS = r"\x{e0000}-\x{e007f}"
_GAP = r"\s{0,20}"
_STRING = r'"(?:[^"\\]|\\.)*"'
_REST = r"[^\n]*(?:\n[^\n]+)*"

_DELIMITER = (
    rf"(?i:[<＜]{TAG_NAME}[-_\x{{2010}}-\x{{2015}}]"
    r"(?:[0-9a-f]{8,}|[0-9a-f]{0,3}[0-9][0-9a-f]{3,}|[0-9a-f]{3}[0-9])(?:[^-\w]|$))"
)
# A token that ends a turn is no sign: models often leave one at the end of their answer.
_TURN = (
    rf"(?:<\|(?:im_start|start_header_id|start|turn)\|?>\s{{0,4}}{_ROLE}\b|<\|{_ROLE}\|>|"
    rf"<start_of_turn>\s{{0,4}}{_ROLE}\b|<<SYS>>|\[INST\]|<｜(?:User|Assistant|System)｜>)"
)
_HIDDEN = (
    # Tag characters that are not part of a flag, such as that of Wales.
    rf"(?:^|[^\x{{1f3f4}}{_TAGS}])[{_TAGS}]+|\x{{1f3f4}}[{_TAGS}]{{9,}}|"
    rf"{_ZERO_WIDTH}{{8,}}|(?:[0-9A-Za-z ]{{1,2}}{_ZERO_WIDTH}{{1,8}}){{5,}}|"
    r"[\x{fe00}-\x{fe0f}\x{e0100}-\x{e01ef}]{4,}|[\x{202d}\x{202e}][^\n\x{202c}]*"
)
_VERDICT = (
    r"VERDICT[ \t*_`<\[(]{1,6}[0-9a-f]{8}(?:[ \t]\w{1,40})?[\])>*_` \t]{0,4}[:：][^\n]*|"
    rf'\{{{_GAP}"reasoning"{_GAP}:{_GAP}{_STRING}{_GAP},{_GAP}'
    rf'(?:"manipulation"{_GAP}:{_GAP}{_STRING}{_GAP},{_GAP})?'
    rf'"(?:verdict|score)"{_GAP}:{_GAP}(?:{_STRING}|[-+.0-9eE]{{1,20}}){_GAP}\}}'
)


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


_SIGNS: Mapping[SearchSign, Any] = {
    "delimiter": _compiled(_DELIMITER),
    "control_tokens": _compiled(_TURN),
    "hidden_text": _compiled(_HIDDEN),
    "verdict": _compiled(_VERDICT),
}
_SUSPECT: Mapping[SearchSign, Any] = {
    **_SIGNS,
    "delimiter": _compiled(_DELIMITER + _REST),
    "control_tokens": _compiled(_TURN + _REST),
}
"""What is masked: the sign, and the rest of the paragraph that it opens."""

_STARTS: Sequence[tuple[frozenset[SearchSign], Any]] = (
    (
        frozenset({"delimiter", "control_tokens"}),
        _compiled(rf"<(?:[|｜]|<SYS>>|start_of_turn>|(?i:{TAG_NAME}))"),
    ),
    (frozenset({"control_tokens"}), _compiled(r"\[INST\]")),
    (frozenset({"verdict"}), _compiled("VERDICT")),
    (frozenset({"verdict"}), _compiled(rf'\{{{_GAP}"reasoning"')),
)
"""What signs begin with. A constant first character lets RE2 skip what has none in no time."""
_NEEDLES: Sequence[tuple[SearchSign, str]] = (
    ("control_tokens", "[INST]"),
    ("verdict", "VERDICT"),
    ("verdict", '"reasoning"'),
)
_HIDING = [(one, one.encode()[-1:]) for one in "\u200b\u200c\u200d\u2060\ufeff\u202d\u202e"]
"""One of them at the least is in every hidden text but one of tags or selectors; its last byte."""
_BEYOND_PLANE_11 = b"\xf3"
"""How tag characters and rare variation selectors begin in UTF-8."""

_BLANK = r"[\s\pP*#=|>]"
_OPENERS = _compiled(
    rf"(?i){_BLANK}{{1,8}}|{_BLANK}*(?:(?:thought process|thinking process|reasoning|solution|"
    r"(?:final )?answer|analysis|explanation|response|result|step (?:1|one)|"
    r"let(?:'|’)?s (?:solve|think|work|break|approach|go|analy[sz]e|reason)[^\n.:]{0,60}|"
    r"(?:(?:sure|certainly|of course|okay|ok)[,!. ]+)?(?:here(?:'|’)?s|here is|below is|this is) "
    r"(?:the|my|a) (?:(?:correct|final|complete|detailed|step[- ]by[- ]step) )*"
    r"(?:answer|solution|response|reasoning|explanation)|"
    r"to (?:solve|answer) this (?:problem|question)[^\n.:]{0,60}|"
    r"解|解答|答案|思考过程|解説|解答例|回答|かいせつ|respuesta|solución|antwort|lösung|réponse|"
    rf"решение|ответ){_BLANK}*){{1,4}}"
)
"""Openers with nothing after them, and punctuation alone: they fool judges into a pass.

Zhao et al., "One Token to Fool LLM-as-a-Judge", 2025.
"""
_QUOTING = _compiled(r"'(?:\\n|[^'\w])*$|^(?:    |\t)")
"""Before a token on its line: a string that has just begun, or the indent of code."""
_FENCE = _compiled("```|~~~|\"\"\"|'''")


def scan(case: Case) -> tuple[Suspicion, ...]:
    """The signs in a case: each at most once for each field."""
    found = [
        Suspicion(sign, name, shown) for name, text in _fields(case) for sign, shown in _signs(text)
    ]
    answer = answer_text(case)
    is_short = len(answer) <= OPENERS_CHARS_MAX and answer.strip()
    if is_short and _OPENERS.fullmatch(answer.encode("utf-8", "replace")):
        found.append(Suspicion("openers", "output", excerpt(answer)))
    return tuple(found)


def excerpt(text: str) -> str:
    """The beginning of a text on one line of ASCII, at most 80 characters."""
    shown = ascii(text[:EXCERPT_CHARS_MAX])[1:-1]
    return shown if len(shown) <= EXCERPT_CHARS_MAX else shown[: EXCERPT_CHARS_MAX - 3] + "..."


def masked(value: Any) -> Any:
    """A case, or any text or texts, without what their signs cover; equal where it is nothing."""
    if isinstance(value, Case):
        texts = {field.name: masked(getattr(value, field.name)) for field in fields(value)}
        return replace(value, **texts)
    if isinstance(value, Mapping):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(masked(inner) for inner in value)
    if isinstance(value, str):
        for sign, _ in _signs(value):
            data = value.encode("utf-8", "replace")
            value = _SUSPECT[sign].sub(MASK.encode(), data).decode("utf-8", "replace")
    return value


def _fields(case: Case) -> Iterator[tuple[str, str]]:
    """The texts of a case by the names of their fields, each field as one text."""
    for name in FIELDS:
        value = getattr(case, name)
        if name == "input" and not isinstance(value, str | None):
            # Its system messages are the caller's own.
            value = [one for one in value if one.get("role") not in ("system", "developer")]
        if value:
            yield name, value if isinstance(value, str) else "\n".join(strings(value))


def _signs(text: str) -> Iterator[tuple[SearchSign, str]]:
    """The signs of a text, with what shows each."""
    candidates, data = _candidates(text)
    for sign, pattern in _SIGNS.items():
        if sign not in candidates:
            continue
        found = _unquoted(data) if sign == "control_tokens" else pattern.search(data)
        if found is not None:
            yield sign, excerpt(found.group().decode("utf-8", "replace"))


def _candidates(text: str) -> tuple[set[SearchSign], bytes]:
    """The signs that a text may have, and its UTF-8 where it may have one."""
    if text.isascii():
        data = text.encode()
        return _started(data, _STARTS), data
    candidates: set[SearchSign] = {"delimiter"} if "＜" in text else set()
    # Where a character lies beyond U+FFFF, each of the text takes four bytes, and to search its
    # UTF-8 is faster. Otherwise to encode it takes longer than to search it as it is.
    if text.__sizeof__() >= 4 * len(text):
        data = text.encode("utf-8", "replace")  # RE2 reads UTF-8, which has no lone surrogates.
        if _BEYOND_PLANE_11 in data or any(end in data and one in text for one, end in _HIDING):
            candidates.add("hidden_text")
        return candidates | _started(data, _STARTS), data
    candidates.update(sign for sign, needle in _NEEDLES if _holds(text, needle))
    if any(one in text for one, _ in _HIDING):
        candidates.add("hidden_text")
    if not candidates and "<" not in text:
        return candidates, b""
    data = text.encode("utf-8", "replace")
    return candidates | _started(data, _STARTS[:1]), data


def _started(data: bytes, starts: Iterable[tuple[frozenset[SearchSign], Any]]) -> set[SearchSign]:
    """The signs of which the text has a beginning."""
    return {sign for signs, start in starts if start.search(data) for sign in signs}


def _holds(text: str, needle: str) -> bool:
    """`needle in text`, by way of its first character, which is rare and so found much faster."""
    at = text.find(needle[0])
    for _ in range(OCCURRENCES_MAX):
        if at < 0 or text.startswith(needle, at):
            return at >= 0
        at = text.find(needle[0], at + 1)
    return needle in text


def _unquoted(data: bytes) -> Any:
    """The first control token that is no part of a code example or a string."""
    fences, end = 0, 0
    for token in islice(_SIGNS["control_tokens"].finditer(data), TOKENS_MAX):
        fences += sum(1 for _ in _FENCE.finditer(data, end, token.start()))
        end = token.start()
        line = data[max(0, end - AROUND_BYTES) : end].rpartition(b"\n")[2]
        after = data[token.end() : token.end() + AROUND_BYTES]
        quoted = fences % 2 or line.count(b'"') % 2 or line.count(b"`") % 2
        template = any(mark in line + after for mark in (b"{{", b"{%"))
        if not quoted and not template and _QUOTING.search(line) is None:
            return token
    return None

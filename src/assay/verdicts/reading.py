"""Reads a judge's verdict: JSON by its schema first, else the last verdict stated in the text.

Whatever is not certainly a verdict on the offered scale raises: `AnswerUnreadable` with a message
meant for the judge, `AnswerTruncated`, or `AnswerRefused`. A guess is never a score.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from assay.domain.completion import AnswerSchema, Completion
from assay.domain.errors import AnswerRefused, AnswerTruncated, AnswerUnreadable
from assay.verdicts.free_text_label import closing_label, free_text_label
from assay.verdicts.free_text_score import free_text_score
from assay.verdicts.sentences import plain

ANSWER_CHARS_MAX = 100_000
"""Of a longer answer only the end is read: the verdict comes last."""
FREE_TEXT_CHARS_MAX = 20_000
"""As above, where there is no JSON and prose has to be searched for a statement."""
OBJECTS_TRIED_MAX = 1_000
REASONING_CHARS_MAX = 20_000

SCORE_KEYS = ("score", "rating", "grade", "result", "value")
LABEL_KEYS = ("verdict", "label", "answer", "result", "choice")
REASON_KEYS = ("reasoning", "explanation", "reason", "feedback", "rationale")

_ORNAMENT = " *_`\"'."
"""What judges put around a verdict."""

Verdict = TypeVar("Verdict")


def label_schema(labels: Sequence[str]) -> AnswerSchema:
    """An answer that reasons, then gives one of the labels; strict for every provider."""
    return _schema("verdict", {"type": "string", "enum": list(labels)})


def score_schema(low: float, high: float, *, integer: bool) -> AnswerSchema:
    """An answer that reasons, then gives a number.

    The bounds are words, not `minimum` and `maximum`: some providers refuse those in strict
    schemas, and the reading checks them in any case.
    """
    kind = "integer" if integer else "number"
    return _schema("score", {"type": kind, "description": f"from {low:g} to {high:g}"})


def _schema(key: str, verdict: Mapping[str, Any]) -> AnswerSchema:
    reasoning = {"type": "string", "description": "why, in a few sentences, before the verdict"}
    return AnswerSchema(
        "verdict",
        {
            "type": "object",
            "properties": {"reasoning": reasoning, key: dict(verdict)},
            "required": ["reasoning", key],
            "additionalProperties": False,
        },
    )


def read_score(
    completion: Completion[object], low: float, high: float, *, integer: bool
) -> tuple[float, str]:
    """The number that the judge gave, from `low` to `high`, and its reasoning."""
    kind = "a whole number" if integer else "a number"
    ask = f'End with a JSON object whose "score" is {kind} from {low:g} to {high:g}.'

    def checked(value: Any) -> float:
        score = free_text_score(value, high) if isinstance(value, str) else _as_number(value)
        if score is None:
            raise AnswerUnreadable(f"The score is not a number. {ask}")
        if not low <= score <= high:
            raise AnswerUnreadable(f"The score is out of range. {ask}")
        if integer and not score.is_integer():
            raise AnswerUnreadable(f"The score is not a whole number. {ask}")
        return int(score) if integer else score

    return _read(completion, SCORE_KEYS, checked, lambda text: free_text_score(text, high), ask)


def read_label(
    completion: Completion[object],
    labels: Sequence[str],
    spoken: Mapping[str, str] | None = None,
    *,
    alone: Collection[str] = (),
) -> tuple[str, str]:
    """The label that the judge gave, as it was offered, and its reasoning.

    `spoken` maps other words for a label to it, such as passed to pass. What is in `alone` is a
    verdict in JSON or at the end of the last line, but not within prose, where it may be a word.
    """
    ask = f'End with a JSON object whose "verdict" is one of {json.dumps(list(labels))}.'
    words = {_folded(word): label for word, label in (spoken or {}).items()}
    words |= {_folded(label): label for label in labels}
    not_prose = {_folded(word) for word in alone}
    prose = {word: label for word, label in words.items() if word not in not_prose}

    def heard(text: str) -> str | None:
        return closing_label(text, not_prose) or free_text_label(text, prose)

    def checked(value: Any) -> str:
        given = str(value) if isinstance(value, bool) else value
        word = _folded(given) if isinstance(given, str) else ""
        label = words.get(word) or words.get(word.strip(_ORNAMENT))
        if label is None:
            raise AnswerUnreadable(f"The verdict is not one of the labels. {ask}")
        return label

    return _read(completion, LABEL_KEYS, checked, heard, ask)


def read_object(completion: Completion[object], keys: Sequence[str], ask: str) -> Mapping[str, Any]:
    """The last JSON object that has one of the keys; `ask` is what the judge is told else."""
    text, cut = _text_of(completion, ask)
    found = _last_object(text, keys)
    if found is None and cut:
        raise AnswerTruncated("the answer was cut before its verdict")
    if found is None:
        raise AnswerUnreadable(f"The answer has no such JSON object. {ask}")
    return found


def _text_of(completion: Completion[object], ask: str) -> tuple[str, bool]:
    """The answer's text, and whether it was cut; raises where there is nothing to read."""
    if completion.finish in ("refusal", "content_filter"):
        raise AnswerRefused("the judge declined to judge")
    text = completion.text[-ANSWER_CHARS_MAX:].strip()
    cut = completion.finish == "length"
    if not text:
        if cut:
            raise AnswerTruncated("the answer was cut before its verdict")
        raise AnswerUnreadable(f"The answer is empty. {ask}")
    return text, cut


def _read(
    completion: Completion[object],
    keys: Sequence[str],
    checked: Callable[[Any], Verdict],
    heard: Callable[[str], Any],
    ask: str,
) -> tuple[Verdict, str]:
    text, cut = _text_of(completion, ask)
    found = _last_object(text, keys)
    if found is not None:
        key = next(key for key in keys if key in found)
        return checked(found[key]), _reasoning(found)
    if cut:
        # What looks like a verdict may be half of one: the 1 of a 10 is not a 1.
        raise AnswerTruncated("the answer was cut before its verdict")
    stated = heard(plain(text[-FREE_TEXT_CHARS_MAX:]))
    if stated is None:
        raise AnswerUnreadable(f"The answer states no verdict. {ask}")
    return checked(stated), text[:REASONING_CHARS_MAX]


def _last_object(text: str, keys: Sequence[str]) -> Mapping[str, Any] | None:
    """The last JSON object in the text that has one of the keys, in a fence or bare."""
    last, end = None, 0
    for found, after in _objects(text):
        if any(key in found for key in keys):
            last, end = found, after
    # A verdict's key after the last whole object belongs to a broken one, in whose reasoning
    # the whole one may be no more than a quotation: not a verdict to bind.
    if last is not None and re.search(rf'"(?:{"|".join(keys)})"\s*:', text[end:]):
        return None
    return last


def _objects(text: str) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The JSON objects in a text, outermost and in order, with the place where each ends."""
    decoder = json.JSONDecoder(parse_constant=_refused_constant)
    at = text.find("{")
    for _ in range(OBJECTS_TRIED_MAX):
        if at < 0:
            return
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield found, end
        at = text.find("{", end)


def _refused_constant(name: str) -> Any:
    """NaN and Infinity are no JSON; as text they are no number either, and say so to the judge."""
    return name


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _reasoning(found: Mapping[str, Any]) -> str:
    why = next((found[key] for key in REASON_KEYS if isinstance(found.get(key), str)), "")
    return why[:REASONING_CHARS_MAX]


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()

"""Verdicts of models that decide: typed questions for the scales, and what their answers say.

The answer is an object with an answer for each question by its id. A distribution is taken as it
is or not at all: what does not fit the questions raises `DecisionUnusable`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from assay.domain.completion import Completion
from assay.domain.decision import DecisionType, TypedQuestion
from assay.domain.errors import DecisionUnusable
from assay.verdicts.answer_format import Scales
from assay.verdicts.forms import AnyScale
from assay.verdicts.reader import EXCERPT_CHARS_MAX, Reading
from assay.verdicts.scales import NumberScale

METHOD = "probability"
LEVELS_MAX = 10
"""The protocol takes no more levels; a wider range, or one of fractions, has `ANCHORS` of them."""
ANCHORS = 5
SUM_TOLERANCE = 0.02
"""Servers print two digits: sums of 0.99 occur, and the option named is sometimes 0.01 below."""
NO_REASONS = "A model that decides gives probabilities and no reasons"
ONLY = "verdict"
"""The id of a question that is the only one."""


def typed_question(scale: AnyScale, instructions: str) -> TypedQuestion:
    """The question whose answer is a probability for each verdict on the scale."""
    kind, values = _offered(scale)
    if kind == "noul":
        yes, no = values
        return TypedQuestion(kind, f'{instructions}\n\nTrue means "{yes}", and false "{no}".')
    shown = (f"{value:g}" if isinstance(value, int | float) else value for value in values)
    return TypedQuestion(kind, instructions, tuple(shown))


def question_id(name: str) -> str:
    return name or ONLY


def read_decisions(
    completion: Completion[object], scales: Scales, *, partly: bool
) -> dict[str, Reading[Any]]:
    """The reading of each verdict by its name, with the probabilities of all.

    Raises `DecisionUnusable`; `partly` only where no verdict can be read.
    """
    answers = orjson.loads(completion.text)
    unknown = sorted(answers.keys() - set(map(question_id, scales)))
    if unknown:
        _unusable(f"an answer to {unknown[0][:50]!r}, which was not asked")
    readings: dict[str, Reading[Any]] = {}
    fault: DecisionUnusable | None = None
    for name, scale in scales.items():
        try:
            readings[name] = _reading(answers.get(question_id(name)), scale)
        except DecisionUnusable as error:
            fault = error
            if not partly:
                raise
    if fault is not None and not readings:
        raise fault
    return readings


def _offered(scale: AnyScale) -> tuple[DecisionType, tuple[Any, ...]]:
    """How the scale is asked, and its verdicts in the order of the answer's."""
    if not isinstance(scale, NumberScale):
        yes, no = scale.words.get("true"), scale.words.get("false")
        if yes is not None and set(scale.labels) == {yes, no}:
            return "noul", (yes, no)
        return "choice", scale.labels
    low, high = scale.low, scale.high
    if scale.integer:
        low, high = math.ceil(low), math.floor(high)
        if high - low < LEVELS_MAX:
            return "score", tuple(range(low, high + 1))
    levels = [low + (high - low) * step / (ANCHORS - 1) for step in range(ANCHORS)]
    return "score", tuple(map(round, levels) if scale.integer else levels)


def _reading(answer: Any, scale: AnyScale) -> Reading[Any]:
    masses = _masses(answer, *_offered(scale))
    first, second = sorted(masses, key=lambda verdict: -masses[verdict])[:2]
    shown = ", ".join(f"{verdict}: {mass:.4g}" for verdict, mass in masses.items())
    if masses[first] == masses[second] and not isinstance(scale, NumberScale):
        _unusable(f"{first!r} and {second!r} with the same probability")
    named = answer.get("choice", first)
    if named not in masses or masses[named] < masses[first] - SUM_TOLERANCE:
        _unusable("a choice that is not the most probable one")
    shown = shown[:EXCERPT_CHARS_MAX]
    return Reading(first, METHOD, shown, f"{NO_REASONS}: {shown}.", 0, 0, masses=masses)


def _masses(answer: Any, kind: DecisionType, values: tuple[Any, ...]) -> dict[Any, float]:
    """The probability of each verdict; they add up to 1."""
    if not isinstance(answer, dict) or answer.get("type") != kind:
        _unusable(f"no answer of the type {kind!r} to a question of that type")
    if kind == "noul":
        yes = _probability(answer.get("noul"))
        return dict(zip(values, (yes, 1 - yes), strict=True))
    keys = values if kind == "choice" else tuple(map(str, range(len(values))))
    given = answer.get("probabilities")
    if not isinstance(given, dict) or given.keys() != set(keys):
        _unusable("no probability for each verdict that was offered, or for more")
    weights = {value: _probability(given[key]) for value, key in zip(values, keys, strict=True)}
    total = sum(weights.values())
    if abs(total - 1) > SUM_TOLERANCE:
        _unusable(f"probabilities that add up to {total:.4g}")
    return {value: weight / total for value, weight in weights.items()}


def _probability(value: Any) -> float:
    """A number from 0 to 1, which NaN is not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        _unusable("a probability that is not a number from 0 to 1")
    return float(value)


def _unusable(what: str) -> NoReturn:
    raise DecisionUnusable(f"The model gives {what}.")


def weights_of(readings: Mapping[str, Reading[Any]]) -> list[tuple[str, Any, float]]:
    """Each verdict with its probability, by the name of its question."""
    return [
        (name, verdict, mass)
        for name, reading in readings.items()
        for verdict, mass in (reading.masses or {}).items()
    ]

"""Which of two outputs a judge prefers: the question in one order, its reading, both orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from assay.criteria.base import Finding, Question
from assay.domain.evaluation import Text
from assay.prompts.templates import render
from assay.prompts.untrusted import UntrustedContent, text_pieces
from assay.verdicts.logprobs import TOP_LOGPROBS, left_over, verdict_masses
from assay.verdicts.reader import Reading
from assay.verdicts.scales import LabelScale

Position = Literal["first", "second", "tie"]

WORTH: Mapping[Position, float] = {"first": 1.0, "second": 0.0, "tie": 0.5}
SWAPPED: Mapping[Position, Position] = {"first": "second", "second": "first", "tie": "tie"}
TIE = "tie"
TIE_SYNONYMS = ("a tie", "draw", "a draw", "equal", "equally good", "neither")
LABEL_TOKENS_MAX = 8
"""Room for a label alone, where no reasoning is asked for."""


@dataclass(frozen=True, slots=True)
class PairFormat:
    """The form of the verdict: the labels of the outputs in the order shown, and its options."""

    labels: tuple[str, str] = ("a", "b")
    tie: bool = True
    reasoning: bool = True
    logprobs: bool = True
    forms: tuple[str, ...] = ()

    @property
    def scale(self) -> LabelScale:
        """The labels, and what judges call the outputs and a tie."""
        names = {name: label for label in self.labels for name in _names(label)}
        if not self.tie:
            return LabelScale(self.labels, names, pair=self.labels)
        names |= dict.fromkeys(TIE_SYNONYMS, TIE)
        return LabelScale((*self.labels, TIE), names, pair=self.labels, tie=TIE)

    def place(self, label: str) -> Position | None:
        """The place that exactly this label stands for."""
        if self.tie and label == TIE:
            return "tie"
        if label == self.labels[0]:
            return "first"
        return "second" if label == self.labels[1] else None


BOTH = PairFormat()


def pair_question(
    rubric: str,
    first: Text,
    second: Text,
    others: UntrustedContent = (),
    form: PairFormat = BOTH,
    *,
    identity: tuple[object, ...] = (),
) -> Question[Finding]:
    """Which of two outputs, shown in this order, is better by the rubric.

    The finding's score is the preference for the first one, 0 to 1; its value is the `Position`.
    Where the answer carries log-probabilities, the preference is the first label's share of the
    labels' probabilities; half of a tie's counts for each.
    """
    titles = [f"output ({label})" for label in form.labels]
    return Question(
        task=render("pairwise.v4", rubric=rubric, labels=form.labels, tie=form.tie),
        content=[*others, *text_pieces(titles[0], first), *text_pieces(titles[1], second)],
        scales={"": form.scale},
        finding=lambda readings: _finding(readings[""], form),
        prompt_version="pairwise.v4",
        reasoning=form.reasoning,
        forms=form.forms,
        top_logprobs=TOP_LOGPROBS if form.logprobs else 0,
        max_output_tokens=None if form.reasoning else LABEL_TOKENS_MAX,
        identity=identity,
    )


def _finding(reading: Reading[Any], form: PairFormat) -> Finding:
    place = form.place(reading.value) or "tie"
    found = Finding(
        WORTH[place],
        value=place,
        label=reading.value,
        explanation=reading.explanation if form.reasoning else "",
        read_from=reading.excerpted,
    )
    masses: dict[Position, float] = (
        verdict_masses(reading.token, form.place) if form.logprobs else {}
    )
    # A token that is only a part of the label says nothing about the whole.
    if place not in masses:
        return found
    weighed = sum(WORTH[position] * mass for position, mass in masses.items())
    return replace(
        found,
        score=min(1.0, weighed / sum(masses.values())),
        probability_left=left_over(masses),
        confidence=masses[place],
    )


def _names(label: str) -> list[str]:
    """What judges call the output of this label."""
    nouns = ("output", "response", "answer", "assistant", "option")
    return [name for noun in nouns for name in (f"{noun} ({label})", f"{noun} {label}")]


def position_of(finding: Finding) -> Position:
    """Which output the finding prefers; a vote without a winner prefers none."""
    return "first" if finding.value == "first" else "second" if finding.value == "second" else "tie"


def swapped_back(finding: Finding) -> Finding:
    """The finding of the swapped order, as seen from the straight one."""
    return replace(
        finding,
        score=1.0 - finding.score,
        value=SWAPPED[position_of(finding)],
        verdict_score=1.0 - finding.own_score,
    )


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """Both orders together: what flips with the order is a tie."""

    place: Position
    consistent: bool
    preference: float


def resolve_orders(straight: Finding, swapped: Finding) -> PairVerdict:
    """Who wins in both orders; `swapped` is as `swapped_back` returns it."""
    places = position_of(straight), position_of(swapped)
    consistent = places[0] == places[1]
    place: Position = places[0] if consistent else "tie"
    weighted = straight.probability_left is not None and swapped.probability_left is not None
    mean = (straight.score + swapped.score) / 2
    return PairVerdict(place, consistent, mean if weighted else WORTH[place])

"""Which of two outputs a judge prefers: the question in one order, its reading, both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from assay.criteria.base import Finding, Question
from assay.domain.completion import Completion
from assay.domain.errors import AnswerUnreadable
from assay.domain.evaluation import Text
from assay.prompts.templates import render
from assay.prompts.untrusted import spoken
from assay.verdicts.logprobs import TOP_LOGPROBS, bare, left_over, verdict_masses
from assay.verdicts.reading import label_schema, read_label

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

    @property
    def offered(self) -> tuple[str, ...]:
        return (*self.labels, TIE) if self.tie else self.labels

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
    others: Sequence[tuple[str, str]] = (),
    form: PairFormat = BOTH,
    *,
    identity: tuple[object, ...] = (),
) -> Question[Finding]:
    """Which of two outputs, shown in this order, is better by the rubric.

    The finding's score is the preference for the first one, 0 to 1; its value is the `Position`.
    Where the answer carries log-probabilities, the preference is the first label's share of the
    labels' probabilities; half of a tie's counts for each.
    """
    version = "pairwise.v1" if form.reasoning else "pairwise_label.v1"
    titles = [f"output ({label})" for label in form.labels]
    return Question(
        instructions=render(version, rubric=rubric, labels=form.labels, tie=form.tie),
        content=[*others, *spoken(titles[0], first), *spoken(titles[1], second)],
        answer=label_schema(form.offered) if form.reasoning else None,
        read=lambda completion: _read(completion, form),
        prompt_version=version,
        top_logprobs=TOP_LOGPROBS if form.logprobs else 0,
        max_output_tokens=None if form.reasoning else LABEL_TOKENS_MAX,
        identity=identity,
    )


def _read(completion: Completion[object], form: PairFormat) -> Finding:
    label, why = _stated(completion, form)
    place = form.place(label) or "tie"
    found = Finding(WORTH[place], value=place, label=label, explanation=why)
    masses: dict[Position, float] = verdict_masses(completion, form.place) if form.logprobs else {}
    # Labels weighed without the one that was read belong to another place in the answer.
    if not masses or place not in masses:
        return found
    weighed = sum(WORTH[position] * mass for position, mass in masses.items())
    return replace(
        found,
        score=min(1.0, weighed / sum(masses.values())),
        probability_left=left_over(masses),
    )


def _stated(completion: Completion[object], form: PairFormat) -> tuple[str, str]:
    """The label given, as offered, with the reasoning."""
    if not form.reasoning and completion.finish == "length":
        # The limit of a few tokens is ours: what comes before it is the whole label or none.
        completion = replace(completion, finish="stop")
    if len({label.casefold() for label in form.offered}) < len(form.offered):
        stated = bare(completion.text)
        if form.place(stated) is None:
            raise AnswerUnreadable(f"Answer with one of {', '.join(form.offered)} alone.")
        return stated, ""
    synonyms = {name: label for label in form.labels for name in _names(label)}
    if form.tie:
        synonyms |= dict.fromkeys(TIE_SYNONYMS, TIE)
    # In prose a label of one letter is more often an article: only its long names count.
    alone = tuple(label for label in form.labels if len(label) == 1)
    return read_label(completion, form.offered, synonyms, alone=alone)


def _names(label: str) -> list[str]:
    """What judges call the output of this label."""
    nouns = ("output", "response", "answer", "assistant", "option")
    return [name for noun in nouns for name in (f"{noun} ({label})", f"{noun} {label}")]


def position_of(finding: Finding) -> Position:
    """Which output the finding prefers; a vote without a winner prefers none."""
    return "first" if finding.value == "first" else "second" if finding.value == "second" else "tie"


def swapped_back(finding: Finding) -> Finding:
    """The finding of the swapped order, as seen from the straight one."""
    return replace(finding, score=1.0 - finding.score, value=SWAPPED[position_of(finding)])


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

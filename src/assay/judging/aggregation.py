"""From several votes on one question to one finding, and how far the votes agree."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.criteria.base import Finding
from assay.domain.evaluation import Aggregate


@dataclass(frozen=True, slots=True)
class AggregatedVotes:
    """The finding of several votes.

    `spread` is the population standard deviation of the values (of the scores where values are
    no numbers); `agreement` the share of votes that equal the most frequent one.
    """

    finding: Finding
    spread: float
    agreement: float


def aggregate_votes(findings: Sequence[Finding], how: Aggregate | None = None) -> AggregatedVotes:
    """One finding of at least one; by default the majority of labels, the mean of numbers."""
    how = how or ("majority" if any(each.label is not None for each in findings) else "mean")
    finding = _majority(findings) if how == "majority" else _middle(findings, how)
    numbers = [_number(each.value) for each in findings]
    values = [each for each in numbers if each is not None]
    if len(values) < len(findings):
        values = [each.score for each in findings]
    most = Counter(map(_vote, findings)).most_common(1)[0][1]
    return AggregatedVotes(finding, statistics.pstdev(values), most / len(findings))


def _majority(findings: Sequence[Finding]) -> Finding:
    """The most frequent vote; where several are, what lies between them, and no label."""
    counts = Counter(map(_vote, findings))
    most = max(counts.values())
    leading = [each for each in findings if counts[_vote(each)] == most]
    if len({_vote(each) for each in leading}) == 1:
        score = statistics.fmean(each.score for each in leading)
        return replace(leading[0], score=score, probability_left=None)
    # Nobody won: a score between the tied ones, which the threshold decides on.
    return Finding(
        score=statistics.fmean(each.score for each in leading),
        explanation=_said(findings, "The vote is tied."),
    )


def _middle(findings: Sequence[Finding], how: Aggregate) -> Finding:
    middle = statistics.median if how == "median" else statistics.fmean
    numbers = [_number(each.value) for each in findings]
    values = [each for each in numbers if each is not None]
    return Finding(
        score=middle([each.score for each in findings]),
        value=middle(values) if len(values) == len(findings) else None,
        explanation=_said(findings, f"The {how} of {len(findings)} verdicts."),
    )


def _said(findings: Sequence[Finding], summary: str) -> str:
    first = next((each.explanation for each in findings if each.explanation), "")
    return f"{summary} One of them: {first}" if first else summary


def _vote(finding: Finding) -> object:
    """What makes two votes the same: their label, else their number."""
    return finding.score if finding.label is None else finding.label


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

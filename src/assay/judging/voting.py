"""Puts one question to all members of a panel, as often as asked, and aggregates their votes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.criteria.base import Finding, Question
from assay.domain.completion import CallContext
from assay.domain.errors import MOST_TELLING_FIRST
from assay.domain.evaluation import Aggregate, JudgeSpec, ScoreMethod
from assay.domain.ports import PanelMember
from assay.judging.call import JudgeReply
from assay.judging.concurrency import side_by_side
from assay.judging.long_input import ask_within_window
from assay.verdicts.decisions import METHOD


@dataclass(frozen=True, slots=True)
class Panel:
    """Who judges a question: one member, or several that each give their verdict.

    A cascade is a panel of panels, which are asked one after the other: its `tiers`.
    """

    spec: JudgeSpec
    members: tuple[PanelMember, ...]
    tiers: tuple[Panel, ...] = ()

    @property
    def parts(self) -> tuple[Panel, ...]:
        """The panels that are asked: its tiers, or itself."""
        return self.tiers or (self,)

    @property
    def has_several(self) -> bool:
        return len(self.members) > 1

    @property
    def rounds(self) -> int:
        """How often a question may be put: a verdict that has to be verified is asked for twice."""
        return 2 if self.spec.injection == "verify" else 1

    @property
    def asks_once(self) -> bool:
        """Whether one call gives the verdict; of a cascade, that of some tier."""
        if self.tiers:
            return any(tier.asks_once for tier in self.tiers)
        return len(self.members) == 1 and self.spec.samples == 1


@dataclass(frozen=True, slots=True)
class AggregatedVotes:
    """The finding of several votes, and how far they agree.

    `spread` is the population standard deviation of the values (of the scores where a value is
    not a number); `agreement` is the share of votes that equal the most frequent one.
    """

    finding: Finding
    spread: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Votes:
    """All replies to one question; `aggregated` is None where none holds a verdict."""

    question: Question[Finding]
    panel: Panel
    replies: tuple[JudgeReply[Finding], ...]
    aggregated: AggregatedVotes | None

    @property
    def finding(self) -> Finding | None:
        return None if self.aggregated is None else self.aggregated.finding

    @property
    def failure(self) -> JudgeReply[Finding]:
        """The most telling of the replies without a verdict."""
        return min(
            (reply for reply in self.replies if reply.verdict is None),
            key=lambda reply: MOST_TELLING_FIRST.index(reply.reason or "check_error"),
        )

    @property
    def members_answered(self) -> set[int]:
        """The members that gave at least one verdict; replies stand in the order of members."""
        samples = self.panel.spec.samples
        replies = enumerate(self.replies) if self.panel.has_several else ()
        return {number // samples for number, reply in replies if reply.verdict is not None}

    @property
    def method(self) -> ScoreMethod:
        if self.panel.has_several:
            return "panel"
        if len(self.replies) > 1:
            return "samples"
        found = self.finding
        if found is None or found.probability_left is None:
            return "single"
        is_decided = found.read_from is not None and found.read_from.method == METHOD
        return "probability" if is_decided else "logprobs"


async def collect_votes(question: Question[Finding], panel: Panel, context: CallContext) -> Votes:
    """Ask every member as often as the panel's specification says, all at the same time."""
    samples = range(panel.spec.samples)
    replies = await side_by_side(
        ask_within_window(question, member, context, sample=sample)
        for member in panel.members
        for sample in samples
    )
    if len(replies) == 1 and question.samples_else > 1 and _is_unweighted(replies[0]):
        replies += await side_by_side(
            ask_within_window(question, panel.members[0], context, sample=sample)
            for sample in range(1, question.samples_else)
        )
    return votes_from(question, panel, replies)


def votes_from(
    question: Question[Finding], panel: Panel, replies: Sequence[JudgeReply[Finding]]
) -> Votes:
    """The votes that these replies make; a reply without a verdict does not count."""
    findings = [reply.verdict for reply in replies if reply.verdict is not None]
    aggregated = None
    if len(replies) == 1 and findings:
        aggregated = AggregatedVotes(findings[0], 0.0, 1.0)
    elif findings:
        aggregated = aggregate(findings, panel.spec.aggregate)
        # A vote that failed agrees with no other.
        sure = round(aggregated.agreement * len(findings)) / len(replies)
        aggregated = replace(aggregated, finding=replace(aggregated.finding, confidence=sure))
    return Votes(question, panel, tuple(replies), aggregated)


def _is_unweighted(reply: JudgeReply[Finding]) -> bool:
    return reply.verdict is not None and reply.verdict.probability_left is None


def aggregate(findings: Sequence[Finding], how: Aggregate | None = None) -> AggregatedVotes:
    """One finding from one or more; by default the majority of labels, the mean of numbers."""
    how = how or ("majority" if any(vote.label is not None for vote in findings) else "mean")
    finding = _majority(findings) if how == "majority" else _average(findings, how)
    values = _values(findings) or [vote.score for vote in findings]
    most = Counter(map(_choice, findings)).most_common(1)[0][1]
    return AggregatedVotes(finding, statistics.pstdev(values), most / len(findings))


def _majority(findings: Sequence[Finding]) -> Finding:
    """The most frequent vote; of a tie, the score between the leading votes, and no label."""
    counts = Counter(map(_choice, findings))
    most = max(counts.values())
    leading = [vote for vote in findings if counts[_choice(vote)] == most]
    score = statistics.fmean(vote.score for vote in leading)
    if len({_choice(vote) for vote in leading}) == 1:
        own = statistics.fmean(vote.own_score for vote in leading)
        return replace(leading[0], score=score, probability_left=None, verdict_score=own)
    # No vote won: the threshold decides on a score between the tied ones.
    return Finding(score=score, explanation=_explained(findings, "The vote is tied."))


def _average(findings: Sequence[Finding], how: Aggregate) -> Finding:
    middle = statistics.median if how == "median" else statistics.fmean
    values = _values(findings)
    return Finding(
        score=middle([vote.score for vote in findings]),
        value=middle(values) if values else None,
        explanation=_explained(findings, f"The {how} of {len(findings)} verdicts."),
    )


def _explained(findings: Sequence[Finding], summary: str) -> str:
    first = next((vote.explanation for vote in findings if vote.explanation), "")
    return f"{summary} One of them: {first}" if first else summary


def _choice(finding: Finding) -> object:
    """What makes two votes equal: their label, else their score."""
    return finding.score if finding.label is None else finding.label


def _values(findings: Sequence[Finding]) -> list[float]:
    """The values of all votes; empty where one of them is not a number."""
    numbers = [
        float(vote.value)
        for vote in findings
        if isinstance(vote.value, int | float) and not isinstance(vote.value, bool)
    ]
    return numbers if len(numbers) == len(findings) else []

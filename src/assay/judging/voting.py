"""Puts one question to all who judge it, as often as asked, and counts their votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.criteria.base import Finding, Question
from assay.domain.errors import MOST_TELLING_FIRST
from assay.domain.evaluation import ScoreMethod
from assay.judging.aggregation import AggregatedVotes, aggregate_votes
from assay.judging.call import Asker, JudgeReply, Panel, PanelMember
from assay.judging.concurrency import side_by_side
from assay.judging.long_input import ask_within_window


@dataclass(frozen=True, slots=True)
class Votes:
    """The replies to one question and what they come to; `finding` is None where none counts."""

    question: Question
    bench: Panel
    replies: tuple[JudgeReply, ...]
    counted: AggregatedVotes | None

    @property
    def finding(self) -> Finding | None:
        return None if self.counted is None else self.counted.finding

    @property
    def failure(self) -> JudgeReply:
        """The most telling of the replies without a finding."""
        return min(
            (each for each in self.replies if each.finding is None),
            key=lambda each: MOST_TELLING_FIRST.index(each.reason or "check_error"),
        )

    @property
    def seats_answered(self) -> set[int]:
        """The seats that gave at least one verdict; replies stand in the order of seats."""
        samples = self.bench.spec.samples
        given = {number for number, each in enumerate(self.replies) if each.finding is not None}
        return {number // samples for number in given} if self.bench.is_panel else set()

    @property
    def method(self) -> ScoreMethod:
        if self.bench.is_panel:
            return "panel"
        if len(self.replies) > 1:
            return "samples"
        found = self.finding
        return "single" if found is None or found.probability_left is None else "logprobs"


async def collect_votes(question: Question, bench: Panel, asker: Asker) -> Votes:
    """Ask every seat as often as its specification says, all at the same time."""
    rounds = [(seat, number) for seat in bench.seats for number in range(bench.spec.samples)]
    replies = await _asked(question, rounds, asker)
    if len(replies) == 1 and question.samples_else > 1 and _is_unweighted(replies[0]):
        more = [(bench.seats[0], number) for number in range(1, question.samples_else)]
        replies += await _asked(question, more, asker)
    return votes_from(question, bench, replies)


def votes_from(question: Question, bench: Panel, replies: Sequence[JudgeReply]) -> Votes:
    """The ballot that these replies make; what has no finding does not count."""
    findings = [each.finding for each in replies if each.finding is not None]
    counted = None
    if len(replies) == 1 and findings:
        counted = AggregatedVotes(findings[0], 0.0, 1.0)
    elif findings:
        counted = aggregate_votes(findings, bench.spec.aggregate)
    return Votes(question, bench, tuple(replies), counted)


async def _asked(
    question: Question, rounds: Sequence[tuple[PanelMember, int]], asker: Asker
) -> list[JudgeReply]:
    return await side_by_side(
        ask_within_window(question, seat, asker, sample=number) for seat, number in rounds
    )


def _is_unweighted(reply: JudgeReply) -> bool:
    return reply.finding is not None and reply.finding.probability_left is None

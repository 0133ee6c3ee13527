"""Has a criterion judged: its questions are voted on, and the votes become a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from assay.criteria.base import Judged
from assay.criteria.results import scored, unscored
from assay.domain.evaluation import Case, CriterionResult, JudgeRecord, PanelRecord, Vote
from assay.domain.policy import SpentQuota
from assay.judging.call import Asker, JudgeReply, Panel, total_cost_usd, total_usage
from assay.judging.concurrency import side_by_side
from assay.judging.prompt import content_of, requested
from assay.judging.voting import Votes, collect_votes


async def judged(criterion: Judged, case: Case, bench: Panel, asker: Asker) -> CriterionResult:
    """The judges' score; a failure becomes an unscored result with its reason.

    Raises `NotApplicable` where the case lacks what the criterion needs.
    """
    short_circuit = criterion.short_circuit(case)
    if short_circuit is not None:
        return scored(criterion, short_circuit)
    questions = criterion.questions(case)
    asker = replace(asker, identity=content_of(criterion))
    return score_of(
        criterion, await side_by_side(collect_votes(each, bench, asker) for each in questions)
    )


def score_of(criterion: Judged, ballots: Sequence[Votes]) -> CriterionResult:
    """The score that the ballots on a criterion's questions come to."""
    findings = [each.finding for each in ballots if each.finding is not None]
    replies = [reply for each in ballots for reply in each.replies]
    if len(findings) == len(ballots):
        score = scored(criterion, criterion.combined(findings))
    else:
        failure = next(each for each in ballots if each.finding is None).failure
        score = unscored(criterion, failure.reason or "check_error", failure.message)
    votes = [_vote(criterion, each) for each in replies] if len(replies) > 1 else []
    return replace(
        score,
        judge=record(ballots, votes),
        usage=total_usage(replies),
        cost_usd=total_cost_usd(replies),
        cached=all(each.cached for each in replies),
        simulated=any(each.simulated for each in replies),
        retry_after_s=retry_after_s(replies),
        spent=spent_quota(replies),
    )


def record(ballots: Sequence[Votes], votes: Sequence[Vote] = ()) -> JudgeRecord:
    """Who judged, with every call of every vote."""
    first = ballots[0]
    replies = [reply for each in ballots for reply in each.replies]
    heard = [each for each in replies if each.finding is not None] or [first.failure]
    left = [each.finding.probability_left for each in ballots if each.finding is not None]
    known = [each for each in left if each is not None]
    counted = first.counted if len(ballots) == 1 and len(replies) > 1 else None
    answered = set.intersection(*(each.seats_answered for each in ballots))
    return JudgeRecord(
        provider=", ".join(dict.fromkeys(each.provider for each in heard)),
        model=", ".join(dict.fromkeys(each.model for each in heard)),
        requested=requested(first.bench.spec),
        prompt_version=first.question.prompt_version,
        score_method=first.method,
        attempts=tuple(attempt for each in replies for attempt in each.attempts),
        votes=tuple(votes),
        spread=counted.spread if counted else None,
        agreement=counted.agreement if counted else None,
        panel=PanelRecord(len(first.bench.seats), len(answered)) if first.bench.is_panel else None,
        probability_left=max(known, default=None),
        shared_call=next((each.shared_call for each in replies if each.shared_call), None),
        long_input=next((each.shortened for each in replies if each.shortened), None),
    )


def retry_after_s(replies: Sequence[JudgeReply]) -> float | None:
    """When the first of the failed judges may be asked again."""
    waits_s = [each.retry_after_s for each in replies if each.retry_after_s is not None]
    return min(waits_s, default=None)


def spent_quota(replies: Sequence[JudgeReply]) -> SpentQuota | None:
    """The limit behind that wait, where it is one of requests."""
    wait_s = retry_after_s(replies)
    return next(
        (each.spent for each in replies if each.spent and each.retry_after_s == wait_s), None
    )


def _vote(criterion: Judged, reply: JudgeReply) -> Vote:
    """One reply as the caller reads it: an unscored one with its reason."""
    if reply.finding is None:
        return Vote(reply.provider, reply.model, explanation=reply.message, reason=reply.reason)
    each = scored(criterion, reply.finding)
    return Vote(
        provider=reply.provider,
        model=reply.model,
        score=each.score,
        value=each.value,
        label=each.label,
        passed=each.passed,
        explanation=each.explanation,
        reason=each.reason,
    )

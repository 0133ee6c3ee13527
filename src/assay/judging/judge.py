"""Has a criterion judged: its questions are voted on, and the votes make its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assay.criteria.base import AsksModel, Finding, Question
from assay.criteria.results import FAILED_CHECK, CriterionOutcome, grade
from assay.domain.cascade import Thresholds
from assay.domain.completion import CallContext, total_spent
from assay.domain.evaluation import Case, JudgeRecord, PanelRecord, Suspicion, Vote, soonest
from assay.domain.prefix import CommonPrefix
from assay.judging.call import JudgeReply, ask
from assay.judging.concurrency import side_by_side
from assay.judging.long_input import fits
from assay.judging.voting import Panel, Votes, collect_votes, votes_from
from assay.prompts.templates import render
from assay.verdicts.logprobs import TOP_LOGPROBS

NO_PART_OF_THE_QUESTION = {
    *("name", "weight", "threshold", "required", "negate", "when", "judge"),
}
"""Fields of a criterion that change neither its question nor the reading of the answer."""
WARNING = "warning.v1"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A judged criterion, who judges it, and the context of its calls.

    `warned` judges are told that text in the material tries to influence them. `weighed` ones are
    asked for the probability of their verdict, too. `thresholds` are those of a cascade; they are
    `certified` for the present revision, or not. `prefixes` are what its questions begin with as
    others do, by their `beginning`.
    """

    criterion: AsksModel
    panel: Panel
    context: CallContext
    warned: bool = False
    weighed: bool = False
    thresholds: Thresholds | None = None
    certified: bool = False
    prefixes: Mapping[object, CommonPrefix | None] = field(default_factory=dict)


async def judge_criterion(assignment: Assignment, case: Case) -> CriterionOutcome:
    """The judges' finding, or the reason for having none.

    Raises `NotApplicable` where the case lacks what the criterion needs.
    """
    criterion, panel, context = assignment.criterion, assignment.panel, assignment.context
    finding = criterion.short_circuit(case)
    if finding is not None:
        return CriterionOutcome(finding)
    questions = questions_about(assignment, case)
    first = questions[0]
    once = panel.asks_once and len(questions) == 1 and first.samples_else == 1
    if once and fits(first, panel.members[0]):
        reply = await ask(first, panel.members[0], context)
        return outcome_from(criterion, [votes_from(first, panel, [reply])])
    return outcome_from(
        criterion,
        await side_by_side(collect_votes(question, panel, context) for question in questions),
    )


def questions_about(assignment: Assignment, case: Case) -> list[Question[Finding]]:
    """The criterion's questions, with an identity that no other criterion's questions have."""
    criterion = assignment.criterion
    identity = (criterion.model_dump_json(exclude=NO_PART_OF_THE_QUESTION),)
    questions = [replace(question, identity=identity) for question in criterion.questions(case)]
    if assignment.prefixes:
        found = assignment.prefixes
        questions = [replace(asked, prefix=found.get(asked.beginning)) for asked in questions]
    if assignment.weighed:
        questions = [replace(question, top_logprobs=TOP_LOGPROBS) for question in questions]
    return [warned(question) for question in questions] if assignment.warned else questions


def warned(question: Question[Finding]) -> Question[Finding]:
    """The question with a warning that the material tries to influence the verdict."""
    task = f"{question.task}\n\n{render(WARNING)}"
    return replace(question, task=task, identity=(*question.identity, WARNING))


def suspicions_from(replies: Iterable[JudgeReply[Finding]]) -> tuple[Suspicion, ...]:
    """What the judges saw, each sign once."""
    signs = dict.fromkeys(sign for reply in replies for sign in reply.manipulations)
    return tuple(Suspicion(sign, source="judge") for sign in signs)


def outcome_from(criterion: AsksModel, votes_by_question: Sequence[Votes]) -> CriterionOutcome:
    """The outcome of a criterion, from the votes on its questions."""
    findings = [votes.finding for votes in votes_by_question if votes.finding is not None]
    failures = [votes.failure for votes in votes_by_question if votes.finding is None]
    replies = [reply for votes in votes_by_question for reply in votes.replies]
    shown = [_to_vote(criterion, reply) for reply in replies] if len(replies) > 1 else []
    usage, cost_usd = total_spent(replies)
    return CriterionOutcome(
        finding=None if failures else criterion.combined(findings),
        reason=failures[0].reason or "check_error" if failures else None,
        explanation=failures[0].message if failures else "",
        judge=judge_record(votes_by_question, shown),
        usage=usage,
        cost_usd=cost_usd,
        cached=all(reply.cached for reply in replies),
        simulated=any(reply.simulated for reply in replies),
        retry=soonest(reply.retry for reply in replies),
        suspect=suspicions_from(replies),
    )


def judge_record(votes_by_question: Sequence[Votes], shown: Sequence[Vote] = ()) -> JudgeRecord:
    """Who judged, with every call; `shown` are the votes as the caller reads them."""
    first = votes_by_question[0]
    replies = [reply for votes in votes_by_question for reply in votes.replies]
    answered = [reply for reply in replies if reply.verdict is not None] or [first.failure]
    findings = [votes.finding for votes in votes_by_question if votes.finding is not None]
    left = [found.probability_left for found in findings if found.probability_left is not None]
    aggregated = first.aggregated if len(votes_by_question) == 1 and len(replies) > 1 else None
    panel = None
    if first.panel.has_several:
        members = set.intersection(*(votes.members_answered for votes in votes_by_question))
        panel = PanelRecord(len(first.panel.members), len(members))
    return JudgeRecord(
        provider=", ".join(dict.fromkeys(reply.provider for reply in answered)),
        model=", ".join(dict.fromkeys(reply.model for reply in answered)),
        requested=first.panel.spec.requested,
        prompt_version=first.question.prompt_version,
        score_method=first.method,
        attempts=tuple(attempt for reply in replies for attempt in reply.attempts),
        votes=tuple(shown),
        spread=aggregated.spread if aggregated else None,
        agreement=aggregated.agreement if aggregated else None,
        panel=panel,
        probability_left=max(left, default=None),
        read_from=findings[0].read_from if len(findings) == 1 == len(replies) else None,
        shared_call=next((reply.shared_call for reply in replies if reply.shared_call), None),
        long_input=next((reply.long_input for reply in replies if reply.long_input), None),
    )


def _to_vote(criterion: AsksModel, reply: JudgeReply[Finding]) -> Vote:
    """A reply as the caller reads it: with a score, or with the reason for having none."""
    finding = reply.verdict
    graded = None if finding is None else grade(criterion, finding)
    if finding is None or graded is None:
        return Vote(
            reply.provider,
            reply.model,
            explanation=reply.message or FAILED_CHECK,
            reason=reply.reason or "check_error",
        )
    return Vote(
        provider=reply.provider,
        model=reply.model,
        score=graded.score,
        value=finding.value,
        label=finding.label,
        passed=graded.passed,
        explanation=finding.explanation,
        read_from=finding.read_from,
    )

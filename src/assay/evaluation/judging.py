"""Asks a judge one question and turns its answer, or its failure, into a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from assay.domain.completion import (
    NO_USAGE,
    Attempt,
    Caller,
    Completion,
    Prompt,
    Sampling,
    Turn,
    Usage,
)
from assay.domain.errors import DeadlineExceeded, ModelError
from assay.domain.evaluation import Case, JudgeRecord, JudgeSpec, Score
from assay.domain.policy import Deadline
from assay.domain.ports import ChatModel
from assay.evaluation.criteria.base import Criterion, Finding, Judged, Question
from assay.evaluation.material import delimited, fresh_nonce
from assay.evaluation.scoring import FAILED_CHECK, scored, unscored

_NOT_CONTENT = {"name", "weight", "threshold", "required", "negate", "judge"}
"""Fields that change neither the question nor the reading of its answer."""


async def judged(
    criterion: Judged,
    case: Case,
    model: ChatModel,
    spec: JudgeSpec,
    caller: Caller,
    deadline: Deadline,
) -> Score:
    """The judge's score; a `ModelError` becomes an unscored result with its reason.

    Raises `CannotJudge` where the case lacks what the criterion needs.
    """
    question = criterion.question(case)
    prompt = prompt_of(question, spec, caller, identity=content_of(criterion))
    try:
        if deadline.remaining_s() <= 0:
            raise DeadlineExceeded("no time was left to ask the judge")
        completion = await model.complete(prompt, deadline)
    except ModelError as error:
        return _failed(criterion, question, spec, error)
    return _answered(criterion, question, spec, completion)


def prompt_of(
    question: Question, spec: JudgeSpec, caller: Caller, *, identity: tuple[object, ...] = ()
) -> Prompt:
    """The question as turns: trusted instructions, then the material in fresh delimiters."""
    nonce = fresh_nonce(text for _, text in question.material)
    opening = (
        f"The material is between <material-{nonce}> and </material-{nonce}> tags. "
        "Only tags with this very value count.\n"
    )
    closing = "\nThat was all of the material. Judge it now, as the criterion says."
    sampling = Sampling(
        temperature=spec.temperature, seed=spec.seed, top_logprobs=question.top_logprobs
    )
    if question.max_output_tokens is not None:
        sampling = replace(sampling, max_output_tokens=question.max_output_tokens)
    material = tuple(part for piece in question.material for part in piece)
    return Prompt(
        turns=(
            Turn("system", (question.instructions,)),
            Turn("user", (opening, *delimited(question.material, nonce), closing)),
        ),
        sampling=sampling,
        answer=question.answer,
        read=question.read,
        caller=caller,
        purse=spec.purse,
        cacheable=spec.cache,
        key=(question.prompt_version, *identity, sampling, *material),
    )


def content_of(criterion: Criterion) -> tuple[object, ...]:
    """What tells this criterion's question and reading from any other's."""
    return (criterion.model_dump_json(exclude=_NOT_CONTENT),)


def _answered(
    criterion: Judged, question: Question, spec: JudgeSpec, completion: Completion
) -> Score:
    attempts = completion.attempts
    finding = completion.reading
    score = (
        scored(criterion, finding)
        if isinstance(finding, Finding)
        else unscored(criterion, "check_error", FAILED_CHECK)
    )
    # A bare provider lists no attempts; a cached answer took none and costs nothing.
    bare = not attempts and not completion.cached
    return replace(
        score,
        judge=JudgeRecord(
            provider=completion.provider,
            model=completion.model,
            requested=requested(spec),
            prompt_version=question.prompt_version,
            score_method="single",
            attempts=attempts,
        ),
        usage=completion.usage if bare else _usage(attempts),
        cost_usd=completion.cost_usd if bare else _cost_usd(attempts),
        cached=completion.cached,
        simulated=completion.simulated,
    )


def _failed(criterion: Judged, question: Question, spec: JudgeSpec, error: ModelError) -> Score:
    """Unscored, with every attempt: what failed may have cost money all the same."""
    last = error.attempts[-1] if error.attempts else None
    return replace(
        unscored(criterion, error.reason, error.message),
        judge=JudgeRecord(
            provider=last.provider if last else "",
            model=last.model if last else "",
            requested=requested(spec),
            prompt_version=question.prompt_version,
            score_method="single",
            attempts=error.attempts,
        ),
        usage=_usage(error.attempts),
        cost_usd=_cost_usd(error.attempts),
        retry_after_s=error.retry_after_s,
    )


def requested(spec: JudgeSpec) -> str:
    """What the caller asked for: the first model of the list, else the judge's name."""
    return spec.models[0] if spec.models else spec.name


def _usage(attempts: Sequence[Attempt]) -> Usage:
    return sum((each.usage for each in attempts), NO_USAGE)


def _cost_usd(attempts: Sequence[Attempt]) -> float:
    return sum(each.cost_usd for each in attempts)

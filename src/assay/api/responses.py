"""The answer to an evaluation: its bytes, its shape, and when it is a problem instead."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from assay.domain.completion import Attempt, Usage
from assay.domain.errors import ProblemCode, Reason
from assay.domain.evaluation import (
    CriterionResult,
    Evaluation,
    JudgeRecord,
    LongInput,
    ScoreMethod,
    Sign,
    Status,
)
from assay.http.problems import Problem
from assay.http.rate_limits import rate_limit_fields

NOT_THE_CALLERS: dict[ProblemCode, str] = {
    "deadline_exceeded": "No criterion could be scored before the deadline.",
    "overloaded": "No criterion could be scored: this process has no free slot.",
    "providers_unavailable": "No criterion could be scored: no judge answered.",
    "quota_exhausted": "No criterion could be scored: the quota of the judges is spent.",
}
"""Reasons that lie with us or the providers, the most telling first."""


def problem_of_unscored(evaluation: Evaluation) -> Problem | None:
    """The problem to answer with where nothing was scored through no fault of the request."""
    reasons = {each.reason for each in evaluation.results}
    if any(each.status == "scored" for each in evaluation.results):
        return None
    if not reasons or not reasons <= NOT_THE_CALLERS.keys():
        return None
    code = next(code for code in NOT_THE_CALLERS if code in reasons)
    waiting = [each for each in evaluation.results if each.retry_after_s is not None]
    longest = max(waiting, key=lambda each: each.retry_after_s or 0.0, default=None)
    if longest is None or longest.retry_after_s is None:
        return Problem(code, NOT_THE_CALLERS[code])
    fields: tuple[tuple[str, str], ...] = ()
    if code == "quota_exhausted" and longest.spent is not None:
        fields = rate_limit_fields(longest.spent, longest.retry_after_s)
    return Problem(code, NOT_THE_CALLERS[code], (), longest.retry_after_s, fields)


def render_evaluation(evaluation: Evaluation) -> bytes:
    """The JSON of an evaluation, written in one pass without a model in between."""
    return orjson.dumps(
        {
            "id": evaluation.id,
            "object": "evaluation",
            "created_at": evaluation.created_at,
            "status": evaluation.status,
            "passed": evaluation.passed,
            "score": evaluation.score,
            "results": [_score(each) for each in evaluation.results],
            "usage": usage_document(evaluation.usage),
            "cost_usd": evaluation.cost_usd,
            "latency_ms": round(evaluation.latency_ms, 3),
            "metadata": evaluation.metadata,
        },
        default=plain,
        option=orjson.OPT_NON_STR_KEYS,
    )


def _score(score: CriterionResult) -> dict[str, Any]:
    return {
        "name": score.name,
        "type": score.type,
        "status": score.status,
        "score": score.score,
        "value": score.value,
        "label": score.label,
        "passed": score.passed,
        "threshold": score.threshold,
        "weight": score.weight,
        "explanation": score.explanation,
        "reason": score.reason,
        "judge": None if score.judge is None else judge_document(score.judge),
        "usage": usage_document(score.usage),
        "cost_usd": score.cost_usd,
        "latency_ms": round(score.latency_ms, 3),
        "cached": score.cached,
        "simulated": score.simulated,
        "suspect": [
            {"sign": each.sign, "field": each.field, "excerpt": each.excerpt}
            for each in score.suspect
        ],
    }


def judge_document(judge: JudgeRecord) -> dict[str, Any]:
    """A judge's record as the contract shows it."""
    return {
        "provider": judge.provider,
        "model": judge.model,
        "requested": judge.requested,
        "prompt_version": judge.prompt_version,
        "score_method": judge.score_method,
        "attempts": [_attempt(each) for each in judge.attempts],
        "votes": [plain_fields(each) for each in judge.votes],
        "spread": judge.spread,
        "agreement": judge.agreement,
        "panel": plain_fields(judge.panel),
        "probability_left": judge.probability_left,
        "shared_call": plain_fields(judge.shared_call),
        "long_input": plain_fields(judge.long_input),
    }


def plain_fields(record: Any) -> dict[str, Any] | None:
    """A record of plain values as the contract shows it: by the names of its fields."""
    return (
        None
        if record is None
        else {each.name: getattr(record, each.name) for each in fields(record)}
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "latency_ms": round(attempt.latency_ms, 3),
        "usage": usage_document(attempt.usage),
        "cost_usd": attempt.cost_usd,
    }


def usage_document(usage: Usage) -> dict[str, int]:
    """Tokens as the contract shows them."""
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def plain(value: object) -> object:
    """What a criterion's `value` may hold beyond JSON's own types."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


class Shape(BaseModel):
    """An answer of exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class UsageAnswer(Shape):
    """Tokens as the providers counted them."""

    input_tokens: int
    output_tokens: int


class AttemptAnswer(Shape):
    """One upstream call, or one candidate passed over."""

    provider: str
    model: str
    outcome: str = Field(description="`ok`, or what went wrong.")
    latency_ms: float
    usage: UsageAnswer
    cost_usd: float


class VoteAnswer(Shape):
    """One of several verdicts on one question."""

    provider: str
    model: str
    score: float | None
    value: Any
    label: str | None
    passed: bool | None
    explanation: str
    reason: Reason | None = Field(description="Why this one does not count.")


class PanelAnswer(Shape):
    """A panel: never silently smaller than it is."""

    asked: int
    answered: int


class SharedCallAnswer(Shape):
    """A call that several criteria shared."""

    criteria: int
    input_tokens: int = Field(description="Of the whole call.")
    input_tokens_saved: int = Field(description="Estimated, against a call for each criterion.")


class ShortenedAnswer(Shape):
    """How a text beyond the judge's window was judged; sizes in characters."""

    method: LongInput
    title: str
    chars: int
    chars_kept: int
    parts: int


class JudgeAnswer(Shape):
    """Who judged, and every call it took."""

    provider: str
    model: str
    requested: str
    prompt_version: str
    score_method: ScoreMethod
    attempts: list[AttemptAnswer]
    votes: list[VoteAnswer] = Field(description="Each verdict, where there were several.")
    spread: float | None = Field(description="Standard deviation of the votes.")
    agreement: float | None = Field(description="Share of votes like the most frequent one.")
    panel: PanelAnswer | None
    probability_left: float | None = Field(description="What the model gave to no verdict.")
    shared_call: SharedCallAnswer | None
    long_input: ShortenedAnswer | None


class SuspicionAnswer(Shape):
    """A sign that the case was written to sway its judge."""

    sign: Sign
    field: str = Field(description="The field of the case that shows it.")
    excerpt: str = Field(description="What shows it, escaped, at most 80 characters.")


class ResultAnswer(Shape):
    """One criterion: scored, or not and why."""

    name: str
    type: str
    status: Status
    score: float | None = Field(ge=0, le=1, description="Normalised, 0 to 1.")
    value: Any = Field(description="As the criterion's own scale has it.")
    label: str | None
    passed: bool | None
    threshold: float | None
    weight: float
    explanation: str
    reason: Reason | None = Field(description="Why it is unscored or skipped.")
    judge: JudgeAnswer | None
    usage: UsageAnswer
    cost_usd: float
    latency_ms: float
    cached: bool
    simulated: bool
    suspect: list[SuspicionAnswer] = Field(description="Signs of prompt injection in the case.")


class EvaluationAnswer(Shape):
    """All results of one case, and their sum."""

    id: str
    object: Literal["evaluation"]
    created_at: str
    status: Literal["completed", "partial"]
    passed: bool | None = Field(description="Never true by default; null where one is unscored.")
    score: float | None = Field(ge=0, le=1, description="Weighted mean of what was scored.")
    results: list[ResultAnswer]
    usage: UsageAnswer
    cost_usd: float
    latency_ms: float
    metadata: dict[str, Any]

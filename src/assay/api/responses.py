"""The response to an evaluation or comparison: its bytes, its schema, and when it is a problem.

The domain's own dataclasses are what is dumped. The classes here only name their OpenAPI schemas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar, cast

import orjson
from pydantic import BaseModel, ConfigDict

from assay.domain.comparison import Comparison, OrderVerdict
from assay.domain.completion import Attempt
from assay.domain.errors import MOST_TELLING_FIRST, TRANSIENT_REASONS
from assay.domain.evaluation import CriterionResult, Evaluation, RetryAdvice
from assay.domain.exact_json import dumps
from assay.domain.problem_codes import ProblemCode
from assay.http.problems import Problem, fault_sentence
from assay.http.rate_limits import rate_limit_fields

CAUSES: Mapping[ProblemCode, str] = {
    "deadline_exceeded": "the deadline passed",
    "input_unavailable": "an image could not be fetched",
    "overloaded": "this process has no free slot",
    "providers_unavailable": "no judge answered",
    "quota_exhausted": "the quota of the judges is exhausted",
}

CAUSES_MAX = 8
"""Failures of candidates that a detail tells; `attempts` lists more."""

EXACT = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)
"""Every field is always present, and there are no others."""


Entry = TypeVar("Entry")


class Shape(BaseModel):
    """A response without other members than those it names."""

    model_config = ConfigDict(extra="forbid")


class ListResponse(Shape, Generic[Entry]):
    """A page of a list."""

    object: Literal["list"]
    data: list[Entry]
    has_more: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class EvaluationResponse(Evaluation):
    """All results of one case, and what they add up to."""

    __pydantic_config__: ClassVar[ConfigDict] = EXACT


@dataclass(frozen=True, slots=True)
class ComparisonResponse(Comparison):
    """The winner over both orders."""

    __pydantic_config__: ClassVar[ConfigDict] = EXACT


def render(record: Evaluation | Comparison) -> bytes:
    """The JSON of a record, written in one pass without a model in between."""
    return dumps(record, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: object) -> object:
    """What a criterion's `value` may hold beyond JSON's own types."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def transient_problem(
    parts: Sequence[CriterionResult | OrderVerdict], retry: RetryAdvice | None, nothing: str
) -> Problem | None:
    """The problem to respond with if every part failed for a transient reason.

    `nothing` begins the problem's detail.
    """
    failed = {part.reason for part in parts if part.reason is not None}
    if not failed or not all(part.reason in TRANSIENT_REASONS for part in parts):
        return None
    # Every transient reason is a problem code as well.
    code = cast("ProblemCode", min(failed, key=MOST_TELLING_FIRST.index))
    # Criteria that share a call share its attempts.
    attempts = tuple(
        dict.fromkeys(attempt for part in parts if part.judge for attempt in part.judge.attempts)
    )
    # An image that cannot be fetched is no judge's failure, and has no attempt.
    own = [part.explanation for part in parts if part.reason == code == "input_unavailable"]
    causes = dict.fromkeys((*own, *map(_cause, attempts)))
    detail = " ".join((f"{nothing}: {CAUSES[code]}.", *list(causes)[:CAUSES_MAX]))
    if retry is None:
        return Problem(code, detail, attempts=attempts)
    quota = retry.spent if code == "quota_exhausted" else None
    headers = (
        ()
        if quota is None
        else rate_limit_fields(quota.model, quota.requests_per_minute, retry.after_s)
    )
    return Problem(code, detail, (), retry.after_s, headers, attempts)


def _cause(attempt: Attempt) -> str:
    """Which candidate failed, and how, as a sentence."""
    words = attempt.message.removeprefix(attempt.provider).lstrip(" :")
    return fault_sentence(attempt.model, words or attempt.outcome)

"""The response to an evaluation or comparison: its bytes, its schema, and when it is a problem.

The domain's own dataclasses are what is dumped. The classes here only name their OpenAPI schemas.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import orjson
from pydantic import ConfigDict

from assay.domain.comparison import Comparison
from assay.domain.errors import MOST_TELLING_FIRST, TRANSIENT_REASONS, ProblemCode, Reason
from assay.domain.evaluation import Evaluation, RetryAdvice
from assay.domain.exact_json import dumps
from assay.http.problems import Problem
from assay.http.rate_limits import rate_limit_fields

CAUSES: Mapping[ProblemCode, str] = {
    "deadline_exceeded": "the deadline passed",
    "overloaded": "this process has no free slot",
    "providers_unavailable": "no judge answered",
    "quota_exhausted": "the quota of the judges is exhausted",
}

EXACT = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)
"""Every field is always present, and there are no others."""


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
    reasons: Collection[Reason | None], retry: RetryAdvice | None, nothing: str
) -> Problem | None:
    """The problem to respond with if every part failed for a transient reason.

    `reasons` has None for a part that did not fail. `nothing` begins the problem's detail.
    """
    failed = {reason for reason in reasons if reason is not None}
    if not failed or None in reasons or not failed <= TRANSIENT_REASONS:
        return None
    # Every transient reason is a problem code as well.
    code = cast("ProblemCode", min(failed, key=MOST_TELLING_FIRST.index))
    detail = f"{nothing}: {CAUSES[code]}."
    if retry is None:
        return Problem(code, detail)
    quota = retry.spent if code == "quota_exhausted" else None
    headers = () if quota is None else rate_limit_fields(quota, retry.after_s)
    return Problem(code, detail, (), retry.after_s, headers)

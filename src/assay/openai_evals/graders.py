"""/v1/fine_tuning/alpha/graders: a grader is tried on one sample, or only checked."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from assay.criteria import parse_criteria
from assay.criteria.base import Criterion
from assay.criteria.composite.multi import Multi, own_number
from assay.criteria.frozen import Frozen
from assay.criteria.judge import judge_spec
from assay.criteria.locations import fault_at
from assay.domain.errors import NotApplicable, Reason, RequestError
from assay.domain.evaluation import Case, CriterionResult
from assay.evaluation.selection import judges_of
from assay.http.access import authenticate
from assay.http.problems import fault_sentence
from assay.openai_evals.backend import (
    Backend,
    answer,
    caller_of,
    read_body,
    request_error,
    router_of,
)
from assay.openai_evals.summary import tokens

TYPES = ("string_check", "text_similarity", "score_model", "label_model", "python", "multi")
TEXT_CHARS_MAX = 10_000_000
FLAGS = (
    "formula_parse_error", "sample_parse_error", "truncated_observation_error",
    "unresponsive_reward_error", "invalid_variable_error", "other_error",
    "python_grader_server_error", "python_grader_runtime_error", "model_grader_server_error",
    "model_grader_refusal_error", "model_grader_parse_error",
)  # fmt: skip
DETAILS = (
    "python_grader_server_error_type", "python_grader_runtime_error_details",
    "model_grader_server_error_details",
)  # fmt: skip


class ValidateRequest(Frozen):
    """A grader to be checked."""

    grader: dict[str, Any]


class RunRequest(ValidateRequest):
    """A grader, and the sample that it grades."""

    model_sample: str = Field(max_length=TEXT_CHARS_MAX)
    item: dict[str, Any] | None = None


class Graders:
    """The resource of graders."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def router(self) -> APIRouter:
        """Its routes."""
        path = "/v1/fine_tuning/alpha/graders"
        return router_of(path, ("POST", "/run", self.run), ("POST", "/validate", self.validate))

    async def validate(self, request: Request) -> Response:
        """The grader itself, if it could be used."""
        tenant = await self._backend.admit(request)
        sent = await read_body(request, ValidateRequest)
        criterion = parse_grader(sent.grader)
        await check_criteria(self._backend, request, tenant, [criterion], ("grader",))
        return answer({"grader": sent.grader})

    async def run(self, request: Request) -> Response:
        """The reward of a sample; null, with the errors, where it could not be graded."""
        tenant = authenticate(request, self._backend.access).tenant
        async with self._backend.gate.in_flight(tenant):
            sent = await read_body(request, RunRequest)
            started_s = time.monotonic()
            reward, results, errors = await self._grade(request, sent)
        usage, total = usage_by_model(results), Counter[str]()
        for used in usage.values():
            total.update(used)
        named = [result.judge.model for result in results if result.judge]
        scores = {one.name: own_number(one) for one in results if one.status == "scored"}
        return answer(
            {
                "reward": reward,
                "sub_rewards": scores if sent.grader["type"] == "multi" else {},
                "model_grader_token_usage_per_model": usage,
                "metadata": {
                    "name": sent.grader.get("name") or sent.grader["type"],
                    "type": sent.grader["type"],
                    "execution_time": time.monotonic() - started_s,
                    "scores": scores,
                    "token_usage": total or None,
                    "sampled_model_name": ", ".join(dict.fromkeys(named)) or None,
                    "errors": errors,
                },
            }
        )

    async def _grade(
        self, request: Request, sent: RunRequest
    ) -> tuple[float | None, Sequence[CriterionResult], dict[str, Any]]:
        errors: dict[str, Any] = dict.fromkeys(FLAGS, False) | dict.fromkeys(DETAILS)
        try:
            grader = parse_grader(sent.grader)
        except RequestError as error:
            if [fault.pointer for fault in error.errors] != ["/grader/calculate_output"]:
                raise
            return None, (), errors | {"formula_parse_error": True}
        # The parts of a multi grader are evaluated by themselves: each has a reward of its own.
        parts: list[Criterion] = [grader]
        if isinstance(grader, Multi):
            parts = [part.model_copy(update={"name": key}) for key, part in grader.parts.items()]
        try:
            outcome = await self._backend.evaluator.evaluate(
                Case(sent.model_sample, fields=sent.item or {}),
                parts,
                judge=judge_spec(None),
                caller=caller_of(request),
                deadline=self._backend.deadline(),
                metadata={},
            )
        except RequestError as error:
            raise moved(error, ("grader",)) from None
        results = outcome.evaluation.results
        for result in results:
            if result.status != "scored":
                errors |= _flags(result)
        if any(result.status != "scored" for result in results):
            return None, results, errors
        if not isinstance(grader, Multi):
            return own_number(results[0]), results, errors
        try:
            finding = grader.combine({result.name: result for result in results})
        except NotApplicable:
            return None, results, errors | {"other_error": True}
        return finding.value, results, errors


def parse_grader(document: Mapping[str, Any]) -> Criterion:
    """A grader; raises `RequestError`."""
    if document.get("type") not in TYPES:
        fault = PydanticCustomError("type", "must be one of {types}", {"types": ", ".join(TYPES)})
        raise request_error(fault_at(("type",), fault, None), document, at=("grader",))
    try:
        (criterion,) = parse_criteria([document])
    except ValidationError as error:
        raise moved(request_error(error, [document]), ("grader",), dropped=1) from None
    return criterion


async def check_criteria(
    backend: Backend,
    request: Request,
    tenant: str,
    criteria: Sequence[Criterion],
    at: tuple[str, ...],
) -> None:
    """Raises `RequestError` with a place under `at` where criteria could not be used."""
    try:
        calls_max = backend.gate.judge_calls_max(tenant)
        judges_of(criteria, judge_spec(None), backend.judges, calls_max)
        await backend.evaluator.compile(
            criteria, caller=caller_of(request), deadline=backend.deadline()
        )
    except RequestError as error:
        raise moved(error, at) from None


def moved(error: RequestError, at: tuple[str, ...], *, dropped: int | None = None) -> RequestError:
    """An error of criteria with its places in a body that names them otherwise.

    `at` stands for `/criteria`, and for the index as well where it names one grader.
    """
    if dropped is None:
        dropped = 2 if at == ("grader",) else 1
    faults = [
        replace(fault, pointer="/" + "/".join((*at, *fault.pointer.split("/")[1 + dropped :])))
        for fault in error.errors
    ]
    if not faults:
        return error
    first = faults[0]
    return RequestError(error.code, fault_sentence(first.pointer, first.message), faults)


_BY_REASON: Mapping[Reason, str] = {
    "variable_missing": "invalid_variable_error",
    "reference_missing": "invalid_variable_error",
    "context_missing": "invalid_variable_error",
    "input_too_long": "truncated_observation_error",
    "judge_parse_error": "model_grader_parse_error",
    "judge_truncated": "model_grader_parse_error",
    "judge_refused": "model_grader_refusal_error",
}


def _flags(result: CriterionResult) -> dict[str, Any]:
    """OpenAI's errors for an unscored result."""
    reason, said = result.reason or "check_error", result.explanation
    if reason == "variable_missing" and "sample.output_json" in said:
        return {"sample_parse_error": True}
    if reason in _BY_REASON:
        return {_BY_REASON[reason]: True}
    if result.type == "python" and reason == "check_error":
        return {"python_grader_runtime_error": True, "python_grader_runtime_error_details": said}
    if result.type == "python":
        return {"python_grader_server_error": True, "python_grader_server_error_type": reason}
    if result.type in ("score_model", "label_model"):
        return {"model_grader_server_error": True, "model_grader_server_error_details": said}
    return {"other_error": True}


def usage_by_model(results: Sequence[CriterionResult]) -> Mapping[str, Counter[str]]:
    """The tokens of each model that was asked; criteria that share a call share its attempts."""
    attempts = dict.fromkeys(
        attempt for result in results if result.judge for attempt in result.judge.attempts
    )
    usage: dict[str, Counter[str]] = defaultdict(Counter)
    for attempt in attempts:
        usage[attempt.model].update(tokens(asdict(attempt.usage)))
    return usage

"""/v1/evaluators: criteria with a name and versions, which other requests refer to."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Annotated, Any, Literal, Self, TypeVar

from fastapi import APIRouter, Request, Response
from jsonpatch import make_patch
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from assay.api.judged_request import deadline_of
from assay.api.problem_codes import JSON_BODY, JUDGED, RECORD
from assay.api.requests import CaseFields, Metadata
from assay.api.responses import EvaluationResponse, ListResponse, Shape
from assay.api.routes import ERASE, add_route, flag, json_response, list_document
from assay.api.services import Services
from assay.api.validation import validate
from assay.catalog.certificates import with_newest_certificate
from assay.catalog.examples import Expected, faults
from assay.catalog.names import NAME_PATTERN
from assay.criteria import CriteriaField, parse_criteria
from assay.criteria.frozen import Frozen
from assay.criteria.judge import JudgeField, judge_spec
from assay.criteria.locations import fault_at
from assay.domain.completion import Caller
from assay.domain.errors import RequestError
from assay.domain.evaluation import NamedVersion
from assay.domain.ids import shown_time
from assay.domain.records import EVALUATOR_ID_KIND, VERSION_MAX, EvaluatorVersion
from assay.evaluation.selection import judges_of
from assay.http.body import read_json
from assay.http.limits import Limits
from assay.http.openapi import query_parameter
from assay.http.pagination import Paging

PAGE = Paging(largest=100, default=20, cursor_pattern=EVALUATOR_ID_KIND + "_[0-9a-f]{32}")
VERSIONS_PAGE = Paging(largest=100, default=20, cursor_pattern="[1-9][0-9]{0,8}")
EXAMPLES_MAX = 100
EXAMPLES_AT_ONCE = 8
DESCRIPTION_CHARS_MAX = 4_000

VERSION = re.compile(r"[1-9][0-9]{0,8}")
VERSION_SCHEMA = {"type": "integer", "minimum": 1, "maximum": VERSION_MAX - 1}

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
Description = Annotated[str, Field(max_length=DESCRIPTION_CHARS_MAX)]


class Example(Frozen):
    """A case, and what the evaluator should make of it."""

    case: CaseFields
    expect: dict[str, Expected] = Field(min_length=1, description="By name of the criterion.")


class EvaluatorVersionRequest(Frozen):
    """A version of an evaluator."""

    criteria: CriteriaField = Field(description="What to judge.")
    judge: JudgeField | None = Field(
        default=None, description="Who judges, unless a criterion or the request says."
    )
    examples: Annotated[list[Example], Field(max_length=EXAMPLES_MAX)] = Field(
        default=[], description="Cases to try a version on: see `/test`."
    )
    metadata: Metadata = Field(default={}, description="Returned unchanged, at most 16 KB.")

    @model_validator(mode="after")
    def _names_its_criteria(self) -> Self:
        names = {criterion.name for criterion in self.criteria}
        for index, example in enumerate(self.examples):
            for name in example.expect.keys() - names:
                fault = PydanticCustomError("unknown_name", "is the name of no criterion")
                raise fault_at(("examples", index, "expect", name), fault, None)
        return self


class EvaluatorRequest(EvaluatorVersionRequest):
    """A new evaluator, with its first version."""

    name: Name
    description: Description = ""


Version = TypeVar("Version", bound=EvaluatorVersionRequest)


class EvaluatorResponse(Shape):
    """One version of an evaluator."""

    id: str
    object: Literal["evaluator"]
    name: str
    version: int
    description: str
    criteria: Any
    judge: Any
    examples: list[dict[str, Any]]
    metadata: dict[str, Any]
    created_at: str


class EvaluatorListResponse(ListResponse[EvaluatorResponse]):
    """Evaluators, or the versions of one, newest first."""


class EvaluatorDiffResponse(BaseModel):
    """What changed from one version to another, as a JSON Patch (RFC 6902)."""

    object: Literal["evaluator.diff"] = "evaluator.diff"
    patch: list[dict[str, Any]]


class ExampleResultResponse(BaseModel):
    """What an evaluator made of one of its examples."""

    passed: bool
    faults: list[str] = Field(description="What differs from what is expected, by criterion.")
    evaluation: EvaluationResponse


class EvaluatorTestResponse(BaseModel):
    """Whether a version meets the expectations of its examples."""

    object: Literal["evaluator.test"] = "evaluator.test"
    passed: bool
    results: list[ExampleResultResponse]


class Evaluators:
    """The resource of evaluators."""

    def __init__(self, services: Services, limits: Limits) -> None:
        self._services = services
        self._limits = limits

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["evaluators"])
        route = partial(add_route, router)
        saved = (*JSON_BODY, *RECORD, "conflict", "unknown_criterion", "unknown_model")
        listed = (*RECORD, "invalid_request")
        base, one, version = (
            "/v1/evaluators",
            "/v1/evaluators/{name}",
            "/v1/evaluators/{name}/versions/{version}",
        )
        made = partial(route, "POST", status=201)
        made(base, self.create_evaluator, EvaluatorResponse, saved, body=EvaluatorRequest)
        many = partial(route, "GET", response=EvaluatorListResponse, codes=listed)
        many(base, self.list_evaluators, page=PAGE)
        route("GET", one, self.get_evaluator, EvaluatorResponse, RECORD)
        route(
            "DELETE", one, self.delete_evaluator, None, (*listed, "forbidden"), status=204,
            parameters=[ERASE],
        )  # fmt: skip
        versions, diff = one + "/versions", one + "/diff"
        body = EvaluatorVersionRequest
        made(versions, self.add_evaluator_version, EvaluatorResponse, saved, body=body)
        many(versions, self.list_evaluator_versions, page=VERSIONS_PAGE)
        route("GET", version, self.get_evaluator_version, EvaluatorResponse, RECORD)
        test = version + "/test"
        route("POST", test, self.test_evaluator_version, EvaluatorTestResponse, (*JUDGED, *RECORD))
        ends = [
            query_parameter(name, text, VERSION_SCHEMA, required=True)
            for name, text in (("from", "The earlier version."), ("to", "The later version."))
        ]
        route(
            "GET", diff, self.compare_evaluator_versions, EvaluatorDiffResponse, listed,
            parameters=ends,
        )  # fmt: skip
        return router

    async def create_evaluator(self, request: Request) -> Response:
        """Save criteria under a name, as version 1."""
        tenant, wanted, spec = await self._sent(request, EvaluatorRequest)
        stores = await self._services.open_stores()
        made = await stores.evaluators.create(tenant, wanted.name, wanted.description, spec)
        location = {"location": f"/v1/evaluators/{made.name}/versions/{made.version}"}
        return json_response(_document(made), 201, location)

    async def add_evaluator_version(self, request: Request, name: str) -> Response:
        """Save the next version; earlier ones stay as they are."""
        tenant, _, spec = await self._sent(request, EvaluatorVersionRequest)
        stores = await self._services.open_stores()
        made = await stores.evaluators.add_version(tenant, name, spec)
        return json_response(_document(_found(made)), 201)

    async def list_evaluators(self, request: Request) -> Response:
        """List the newest version of each evaluator, the newest evaluators first."""
        tenant = await self._services.admit(request)
        cursor, limit = PAGE.cursor(request), PAGE.limit(request)
        stores = await self._services.open_stores()
        found = await stores.evaluators.page(tenant, cursor, limit + 1)
        return json_response(list_document([_document(one) for one in found], limit))

    async def get_evaluator(self, request: Request, name: str) -> Response:
        """Read the newest version."""
        return json_response(_document(await self._requested(request, name)))

    async def list_evaluator_versions(self, request: Request, name: str) -> Response:
        """List versions, the newest first."""
        found = await self._requested(request, name)
        before, limit = int(VERSIONS_PAGE.cursor(request) or VERSION_MAX), PAGE.limit(request)
        store = (await self._services.open_stores()).evaluators
        versions = await store.versions(request.state.tenant, found.name, before, limit + 1)
        documents = [_document(one) for one in versions]
        return json_response(list_document(documents, limit, "version"))

    async def get_evaluator_version(self, request: Request, name: str, version: str) -> Response:
        """Read one version."""
        return json_response(_document(await self._requested(request, name, version)))

    async def compare_evaluator_versions(self, request: Request, name: str) -> Response:
        """Show what changed between two versions, such as `?from=1&to=2`."""
        before, after = [
            await self._requested(request, name, request.query_params.get(end, ""))
            for end in ("from", "to")
        ]
        patch = make_patch(before.spec, after.spec).patch
        return json_response({"object": "evaluator.diff", "patch": patch})

    async def delete_evaluator(self, request: Request, name: str) -> Response:
        """Delete all versions. The name stays reserved for 30 days; `?erase=true` frees it."""
        tenant = await self._services.admit(request)
        erase = flag(request, "erase")
        stores = await self._services.open_stores()
        if not await stores.evaluators.delete(tenant, name, erase=erase):
            raise _MISSING
        return Response(status_code=204)

    async def test_evaluator_version(self, request: Request, name: str, version: str) -> Response:
        """Evaluate the version's examples, and compare the verdicts with what is expected."""
        found = await self._requested(request, name, version)
        stores, tenant = await self._services.open_stores(), request.state.tenant
        named = await with_newest_certificate(stores, tenant, found, found.spec["judge"])
        async with self._services.gate.in_flight(tenant):
            caller = Caller(tenant, request.state.request_id)
            at_once = asyncio.Semaphore(EXAMPLES_AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                tried = [
                    tasks.create_task(self._try(found, named, example, caller, at_once))
                    for example in found.spec["examples"]
                ]
        results = [task.result() for task in tried]
        passed = all(result["passed"] for result in results)
        return json_response({"object": "evaluator.test", "passed": passed, "results": results})

    async def _try(
        self,
        found: EvaluatorVersion,
        named: NamedVersion,
        example: dict[str, Any],
        caller: Caller,
        at_once: asyncio.Semaphore,
    ) -> dict[str, Any]:
        wanted = Example.model_validate(example)
        async with at_once:
            outcome = await self._services.evaluator.evaluate(
                wanted.case.to_case(),
                parse_criteria(found.spec["criteria"]),
                judge=judge_spec(found.spec["judge"]),
                caller=caller,
                deadline=deadline_of(None, self._limits),
                metadata=wanted.case.metadata,
                named=named,
            )
        evaluation = outcome.evaluation
        differing = list(faults(wanted.expect, evaluation))
        return {"passed": not differing, "faults": differing, "evaluation": evaluation}

    async def _sent(
        self, request: Request, model: type[Version]
    ) -> tuple[str, Version, dict[str, Any]]:
        """The tenant, the request, and the JSON of the version, once all of it can be used."""
        tenant = await self._services.admit(request)
        document = (await read_json(request)).document
        wanted = validate(model, document, self._limits.image_hosts)
        judges_of(
            wanted.criteria,
            judge_spec(wanted.judge),
            self._services.judges,
            self._services.gate.judge_calls_max(tenant),
        )
        await self._services.evaluator.compile(
            wanted.criteria,
            caller=Caller(tenant, request.state.request_id),
            deadline=deadline_of(None, self._limits),
        )
        kept = ("criteria", "judge", "examples", "metadata")
        defaults: dict[str, Any] = {"judge": None, "examples": [], "metadata": {}}
        return tenant, wanted, {name: document.get(name) or defaults.get(name) for name in kept}

    async def _requested(
        self, request: Request, name: str, version: str | None = None
    ) -> EvaluatorVersion:
        tenant = await self._services.admit(request)
        if version is not None and not VERSION.fullmatch(version):
            raise _MISSING
        stores = await self._services.open_stores()
        number = None if version is None else int(version)
        return _found(await stores.evaluators.find(tenant, name, number))


_MISSING = RequestError("not_found", "No evaluator has this name and version.")


def _found(version: EvaluatorVersion | None) -> EvaluatorVersion:
    if version is None:
        raise _MISSING
    return version


def _document(version: EvaluatorVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "object": "evaluator",
        "name": version.name,
        "version": version.version,
        "description": version.description,
        **version.spec,
        "created_at": shown_time(version.created_ms),
    }

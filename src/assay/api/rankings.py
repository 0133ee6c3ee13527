"""POST /v1/rankings: systems ranked by comparisons of their outputs on the same items."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from assay.api.batches.requests import ItemId
from assay.api.judged_request import JudgedRoute, handle_judged_request
from assay.api.problem_codes import JUDGED
from assay.api.requests import CaseContext, JudgedFields, MetadataField, TextField
from assay.api.responses import EXACT, transient_problem
from assay.api.routes import add_route
from assay.api.services import Services
from assay.catalog.rankings import RankingItem, RankingSpec, rank
from assay.criteria.base import Prose
from assay.criteria.judge import judge_spec
from assay.criteria.locations import fault_at
from assay.domain.completion import Caller
from assay.domain.evaluation import Case
from assay.domain.exact_json import dumps
from assay.domain.policy import Deadline
from assay.domain.ranking import SystemRanking
from assay.evaluation.comparer import comparison_calls
from assay.evaluation.selection import panel_for
from assay.http.limits import Limits
from assay.http.problems import ProblemError, invalid_request

ITEMS_MAX = 1_000
SYSTEMS_MAX = 20
SYSTEM_CHARS_MAX = 200

System = Annotated[str, Field(min_length=1, max_length=SYSTEM_CHARS_MAX)]


class RankingItemField(CaseContext):
    """One item: what was asked, and what each system answered."""

    id: ItemId | None = Field(default=None, description="Without one, the item's index.")
    outputs: Annotated[dict[System, TextField], Field(min_length=1, max_length=SYSTEMS_MAX)] = (
        Field(description="The outputs by the names of their systems.")
    )


def _within_limits(items: list[RankingItemField]) -> list[RankingItemField]:
    ids = Counter(item.id or str(index) for index, item in enumerate(items))
    for index, item in enumerate(items):
        if ids[item.id or str(index)] > 1:
            error = PydanticCustomError("item_id", "must be an id that no other item has")
            raise fault_at((index, "id"), error, None)
    systems = {name for item in items for name in item.outputs}
    if not 2 <= len(systems) <= SYSTEMS_MAX:  # noqa: PLR2004  # a pair
        message = "must have outputs of 2 to {max} systems"
        raise PydanticCustomError("systems", message, {"max": SYSTEMS_MAX})
    return items


class RankingRequest(JudgedFields, MetadataField):
    """Systems' outputs on the same items, and what to compare them by."""

    items: Annotated[
        list[RankingItemField],
        Field(min_length=1, max_length=ITEMS_MAX),
        AfterValidator(_within_limits),
    ]
    rubric: Prose = Field(description="What to compare, in plain words.")
    comparisons_max: int | None = Field(
        default=None,
        ge=1,
        description="The most comparisons, each of which is judged in both orders. Without it, as "
        "many as there are or as the limit of judge calls allows.",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    confidence: float = Field(default=0.95, ge=0.5, le=0.999)


@dataclass(frozen=True, slots=True)
class RankingResponse(SystemRanking):
    """Systems by their strengths, the strongest first."""

    __pydantic_config__: ClassVar[ConfigDict] = EXACT


def rankings_router(services: Services, limits: Limits) -> APIRouter:
    """The route that ranks systems."""
    router = APIRouter(tags=["rankings"], route_class=JudgedRoute)

    async def create_ranking(request: Request) -> Response:
        """Compare systems pair by pair, where ranks are open, and rank them by their strengths.

        The deadline, a cost cap or a tenant's limit may end it early: what was judged is kept, and
        `statements` say what is missing.
        """
        return await handle_judged_request(request, services, limits, RankingRequest, _rank)

    add_route(
        router, "POST", "/v1/rankings", create_ranking, RankingResponse, JUDGED,
        body=RankingRequest, replayed=True,
    )  # fmt: skip
    return router


async def _rank(
    services: Services,
    payload: RankingRequest,
    caller: Caller,
    deadline: Deadline,
    _: object,
) -> Response:
    judge = judge_spec(payload.judge)
    calls = comparison_calls(panel_for(judge, "/judge", services.judges))
    calls_max = services.gate.judge_calls_max(caller.tenant)
    wanted = payload.comparisons_max
    if wanted is not None and wanted * calls > calls_max:
        raise invalid_request(
            "/comparisons_max",
            f"would make {wanted * calls} judge calls, of at most {calls_max} in one request",
        )
    items = [
        RankingItem(
            item.id or str(index),
            Case.from_fields({**vars(item), "output": ""}),
            {
                name: Case.from_fields({"output": output}).output
                for name, output in item.outputs.items()
            },
        )
        for index, item in enumerate(payload.items)
    ]
    spec = RankingSpec(
        items,
        payload.rubric,
        judge,
        max(1, calls_max // calls) if wanted is None else wanted,
        payload.seed,
        payload.confidence,
        payload.metadata,
    )
    outcome = await rank(spec, services.comparer, caller=caller, deadline=deadline)
    problem = transient_problem(outcome.failed, outcome.retry, "No outputs could be compared")
    if problem is not None:
        raise ProblemError(problem)
    return Response(dumps(outcome.ranking), media_type="application/json")

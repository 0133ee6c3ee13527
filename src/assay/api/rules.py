"""/v1/rules: which live traffic is judged; and what became of the spans that were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from assay.api.batches.requests import GateField
from assay.api.batches.responses import batch_document
from assay.api.batches.services import Batches
from assay.api.problem_codes import AUTHENTICATED, JSON_BODY, RECORD
from assay.api.requests import EvaluatorReference
from assay.api.responses import ListResponse, Shape
from assay.api.routes import add_route, json_response, page_document
from assay.api.validation import validate
from assay.batches.live import HOUR_MS, LiveTraffic, names_a_criterion
from assay.batches.webhook_field import WebhookField
from assay.catalog.evaluators import find_evaluator
from assay.catalog.names import NAME_PATTERN
from assay.catalog.rules import RULE, KnownRule, Rule, Rules, find_rule, list_rules, put_rule
from assay.criteria.frozen import Frozen
from assay.criteria.locations import fault_at
from assay.domain.errors import RequestError
from assay.domain.expressions import ExpressionError
from assay.domain.filters import FILTER_CHARS_MAX, Filter
from assay.domain.ids import now_ms, shown_time
from assay.domain.traces import GroupBy, TraceStore
from assay.http.body import read_json
from assay.http.openapi import query_parameter
from assay.http.problems import invalid_request

DELAYS_S = {"span": 0.0, "trace": 30.0, "session": 300.0}
"""How long is waited by default for the rest of a group."""
HOURS_MAX, HOURS_DEFAULT = 168, 24


def _condition(text: str) -> str:
    try:
        Filter.parse(text)
    except ExpressionError as error:
        raise PydanticCustomError("filter", "{message}", {"message": str(error)}) from None
    return text


class RuleLimit(Frozen):
    """What a rule may take; beyond it, traffic is skipped and counted."""

    per_minute: int = Field(default=60, ge=1, le=100_000, description="Cases judged each minute.")
    usd_per_day: float = Field(
        default=10.0, gt=0, le=1e6, description="Cost of judging on one day, in UTC."
    )


class RuleAlert(Frozen):
    """A webhook that is called after an hour in which the mean is below the threshold."""

    threshold: GateField
    webhook: WebhookField


class RuleChange(Frozen):
    """What a rule judges, and by what."""

    evaluator: EvaluatorReference = Field(description="`name` is its newest version.")
    filter: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=FILTER_CHARS_MAX),
            AfterValidator(_condition),
        ]
        | None
    ) = Field(
        default=None,
        description='A condition over attributes of spans, such as `service.name == "shop"`. '
        "Without it, every span of a model.",
    )
    sample_rate: float = Field(default=1.0, gt=0, le=1, description="The share that is judged.")
    limit: RuleLimit = RuleLimit()
    group_by: GroupBy = Field(default="span", description="What is one case.")
    delay_s: float | None = Field(
        default=None, ge=0, le=3_600,
        description="How long the rest of a group is waited for; of a session, after its last span."
        " Default: 0 for a span, 30 for a trace, 300 for a session.",
    )  # fmt: skip
    enabled: bool = True
    alert: RuleAlert | None = None

    @model_validator(mode="after")
    def _waits_for_a_group(self) -> Self:
        if self.group_by != "span" and self.delay_s == 0:
            fault = PydanticCustomError("no_delay", "must be above 0 for a trace or a session")
            raise fault_at(("delay_s",), fault, None)
        return self


class RuleRequest(RuleChange):
    """A new rule."""

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]


class RuleResponse(Shape):
    """A rule, and what it does."""

    id: str
    object: Literal["rule"]
    created_at: str
    name: str
    evaluator: str
    filter: str | None
    sample_rate: float
    limit: dict[str, float]
    group_by: str
    delay_s: float
    enabled: bool
    alert: dict[str, Any] | None
    state: dict[str, Any] = Field(
        description="`status` (`judging`, `paused` or `disabled`), `reason` of a pause, `pending` "
        "groups, `counts` of what was judged or skipped, and what it took `today`."
    )


class RuleListResponse(ListResponse[RuleResponse]):
    """The rules of a tenant, by their names."""


class RuleScoresResponse(ListResponse[dict[str, Any]]):
    """The batches of a rule, one for each hour with traffic, newest first."""


class TracesResponse(Shape):
    """What became of the spans that were sent."""

    object: Literal["traces"]
    outcomes: dict[str, int]
    not_understood: list[dict[str, Any]] = Field(
        description="The last spans of models that gave no case: name, scope, reason, and the "
        "names of their attributes."
    )


class LiveRules:
    """The resource of rules, which is part of live traffic."""

    def __init__(
        self, batches: Batches, rules: Rules, live: LiveTraffic, traces: TraceStore
    ) -> None:
        self._batches = batches
        self._services = batches.services
        self._rules = rules
        self._live = live
        self._traces = traces

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["rules"])
        route, path, one = partial(add_route, router), "/v1/rules", "/v1/rules/{name}"
        write = (*JSON_BODY, *RECORD, "conflict", "store_unavailable")
        read = (*RECORD, "store_unavailable")
        hours = {"type": "integer", "minimum": 1, "maximum": HOURS_MAX, "default": HOURS_DEFAULT}
        query = [query_parameter("hours", "How far back.", hours)]
        route("POST", path, self.create_rule, RuleResponse, write, body=RuleRequest, status=201)
        route("GET", path, self.list_rules, RuleListResponse, read)
        route("GET", one, self.get_rule, RuleResponse, read)
        route("PUT", one, self.put_rule, RuleResponse, write, body=RuleChange)
        route("DELETE", one, self.delete_rule, None, (*read, "forbidden"), status=204)
        route(
            "GET", one + "/scores", self.get_rule_scores, RuleScoresResponse,
            (*read, "invalid_request"), parameters=query,
        )  # fmt: skip
        route("GET", "/v1/traces", self.get_traces, TracesResponse,
              (*AUTHENTICATED, "store_unavailable"))  # fmt: skip
        return router

    async def create_rule(self, request: Request) -> Response:
        """Judge a share of the live traffic that is sent to `/v1/traces`."""
        tenant = await self._services.admit(request)
        wanted = validate(RuleRequest, (await read_json(request)).document)
        stores = await self._services.open_stores()
        if wanted.name in {one.rule.name for one in await list_rules(stores, tenant)}:
            raise RequestError("conflict", "A rule has this name: change it with PUT.")
        return await self._put(tenant, wanted.name, wanted, 201)

    async def put_rule(self, request: Request, name: str) -> Response:
        """Change a rule; what it has judged stays."""
        tenant = await self._services.admit(request)
        wanted = validate(RuleChange, (await read_json(request)).document)
        before = await find_rule(await self._services.open_stores(), tenant, name)
        return await self._put(tenant, name, wanted, 200, before.rule.alert)

    async def _put(
        self,
        tenant: str,
        name: str,
        wanted: RuleChange,
        status: int,
        before: Mapping[str, Any] | None = None,
    ) -> Response:
        """Keep the rule; the secret of a webhook stays while its URL does."""
        found = await find_evaluator(self._services.open_stores, tenant, wanted.evaluator)
        alert, secret = None, None
        if wanted.alert is not None:
            if not names_a_criterion(wanted.alert.threshold.criterion, found.spec["criteria"]):
                fault = "must be the name of one of the evaluator's criteria"
                raise invalid_request("/alert/threshold/criterion", fault)
            webhook = wanted.alert.webhook.to_webhook(allow_private=self._batches.private_webhooks)
            if wanted.alert.webhook.secret is None:
                if before is not None and before["webhook"]["url"] == webhook["url"]:
                    webhook = before["webhook"]
                else:
                    secret = webhook["secret"]
            alert = {"gate": wanted.alert.threshold.model_dump(), "webhook": webhook}
        delay_s = DELAYS_S[wanted.group_by] if wanted.delay_s is None else wanted.delay_s
        rule = Rule(
            name, wanted.evaluator, wanted.filter or "", wanted.sample_rate,
            wanted.limit.per_minute, wanted.limit.usd_per_day, wanted.group_by, delay_s,
            wanted.enabled, alert,
        )  # fmt: skip
        one = await put_rule(await self._services.open_stores(), tenant, rule)
        self._rules.changed()
        document = await self._shown(one)
        if secret is not None:
            document["alert"]["webhook"]["secret"] = secret
        return json_response(document, status, {"location": f"/v1/rules/{name}"})

    async def list_rules(self, request: Request) -> Response:
        """All rules, with what they do."""
        tenant = await self._services.admit(request)
        found = await list_rules(await self._services.open_stores(), tenant)
        return json_response(page_document([await self._shown(one) for one in found], None))

    async def get_rule(self, request: Request, name: str) -> Response:
        """A rule, and what it does."""
        return json_response(await self._shown(await self._found(request, name)))

    async def delete_rule(self, request: Request, name: str) -> Response:
        """Judge no more by this rule; its batches stay."""
        one = await self._found(request, name)
        await (await self._services.open_stores()).objects.delete(one.tenant, RULE, one.id)
        self._rules.changed()
        await self._live.forget(one)
        return Response(status_code=204)

    async def get_rule_scores(self, request: Request, name: str) -> Response:
        """The scores of each hour: its batch, with means and intervals by criterion."""
        one = await self._found(request, name)
        text = request.query_params.get("hours", str(HOURS_DEFAULT))
        if not text.isdecimal() or not 1 <= int(text[:9]) <= HOURS_MAX:
            raise invalid_request("", f"hours must be from 1 to {HOURS_MAX}")
        last_ms = now_ms() // HOUR_MS * HOUR_MS
        batches = await self._live.hourly(one, last_ms - (int(text) - 1) * HOUR_MS, last_ms)
        shown = []
        for batch in batches:
            sums = await self._batches.lasting.sums(batch, by_group=True)
            shown.append(batch_document(batch, sums=sums))
        return json_response(page_document(shown, None))

    async def get_traces(self, request: Request) -> Response:
        """How many spans were sent, and which of them were not understood."""
        seen = await self._traces.seen(await self._services.admit(request))
        return json_response({"object": "traces", **asdict(seen)})

    async def _found(self, request: Request, name: str) -> KnownRule:
        tenant = await self._services.admit(request)
        return await find_rule(await self._services.open_stores(), tenant, name)

    async def _shown(self, one: KnownRule) -> dict[str, Any]:
        state, spent = await self._traces.state(one.tenant, one.id), await self._live.spent(one)
        rule, reason = one.rule, spent.reason(one) or state.paused
        status = "paused" if reason else "judging"
        return {
            "id": one.id,
            "object": RULE,
            "created_at": shown_time(one.created_ms),
            **{name: getattr(rule, name) for name in SHOWN},
            "filter": rule.filter or None,
            "limit": {"per_minute": rule.per_minute, "usd_per_day": rule.usd_per_day},
            "alert": _alert(rule.alert),
            "state": {
                "status": status if rule.enabled else "disabled",
                "reason": reason or None,
                "pending": state.pending,
                "counts": state.counts,
                "today": {"rows": spent.rows, "cost_usd": spent.cost_usd},
                "batches": sorted(state.open, reverse=True),
            },
        }


SHOWN: Sequence[str] = ("name", "evaluator", "sample_rate", "group_by", "delay_s", "enabled")


def _alert(alert: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The alert without its secret."""
    if alert is None:
        return None
    return {"threshold": alert["gate"], "webhook": {"url": alert["webhook"]["url"]}}

"""The API over real HTTP, with a fake engine behind it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import uvicorn

from assay.api.app import CODES_BY_STATUS, create_app
from assay.api.services import Services
from assay.bootstrap.document import openapi_document
from assay.domain.audit import ActionPage
from assay.domain.completion import Attempt, Usage
from assay.domain.errors import RequestError
from assay.domain.evaluation import (
    CriterionResult,
    Evaluation,
    EvaluationOutcome,
    EvaluatorRecord,
    JudgeRecord,
    RetryAdvice,
)
from assay.domain.models import Model
from assay.domain.ports import ModelStatus
from assay.domain.tenants import OPEN_GATE
from assay.http.access import OpenAccess
from assay.http.limits import Limits
from assay.http.server import listen, serving
from fakes import engine
from fakes.judges import FakeJudges
from fakes.limits import limits_with
from fakes.recorded_events import RecordedEvents


class ScriptedEvaluator:
    """Gives a scripted answer, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.cancelled = 0
        self.answer: Callable[..., EvaluationOutcome] = scored
        self.hold: asyncio.Event | None = None
        """Where set, every call waits for it."""
        self.error: Exception | None = None

    async def compile(self, criteria, **rest) -> None:
        """Nothing is compiled: no criterion is applied either."""

    async def evaluate(self, case, criteria, **rest) -> EvaluationOutcome:
        self.calls.append({"case": case, "criteria": criteria, **rest})
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        outcome = self.answer(criteria)
        return replace(outcome, evaluation=replace(outcome.evaluation, metadata=rest["metadata"]))


def scored(criteria) -> EvaluationOutcome:
    """Every criterion passes, by one judge."""
    attempt = Attempt("openai", "gpt-6-luna", "ok", 12.5, Usage(10, 2), 0.0001)
    judge = JudgeRecord("openai", "gpt-6-luna", "openai/gpt-6-luna", "v1", "single", (attempt,))
    return evaluation(
        *(
            CriterionResult(
                each.name, each.type, "scored", 1.0, True, "pass", True, 1.0, judge=judge
            )
            for each in criteria
        )
    )


def unscored(*reasons: str, retry_after_s: float | None = None) -> Callable[..., EvaluationOutcome]:
    """An evaluation in which each criterion failed for one of the reasons."""
    scores = [
        CriterionResult(f"c{index}", "rubric", "unscored", reason=reason)
        for index, reason in enumerate(reasons)
    ]
    retry = None if retry_after_s is None else RetryAdvice(retry_after_s)
    return lambda _criteria: evaluation(*scores, retry=retry)


def evaluation(*scores: CriterionResult, retry: RetryAdvice | None = None) -> EvaluationOutcome:
    made = Evaluation(
        id="eval_1",
        created_at="2026-11-20T12:00:00Z",
        status="completed" if all(each.status == "scored" for each in scores) else "partial",
        passed=True if all(each.passed for each in scores) else None,
        score=1.0 if all(each.status == "scored" for each in scores) else None,
        results=scores,
        usage=Usage(10, 2),
        cost_usd=0.0001,
        latency_ms=13.0,
        evaluator=EvaluatorRecord("0123456789abcdef"),
    )
    return EvaluationOutcome(made, retry)


class OneModel:
    """A directory of one configured model."""

    async def statuses(self):
        model = Model("openai/gpt-6-luna", "openai", "gpt-6-luna", context_tokens=400_000)
        return [ModelStatus(model, "half_open", 12.0, None)]

    async def set_breaker(self, model_id, command):
        [status] = await self.statuses()
        if model_id != status.model.id:
            raise RequestError("not_found", "no model of that id is configured")
        return replace(status, breaker="closed" if command == "reset" else command)


class NoStore:
    """Fails the test where a request without a key touches the store."""

    async def claim(self, *_args, **_kwargs):
        raise AssertionError("the store was asked")


class NoUsage:
    """Nobody has used anything."""

    async def tenants(self, first):
        return []

    async def read(self, tenants, days):
        for _ in ():
            yield _


class NoAudit:
    """Nobody has done anything."""

    async def page(self, before, limit, since_ms, action):
        return ActionPage([], None)


@dataclass
class Api:
    """A running API: its address, a client, and what it is made of."""

    url: str
    http: aiohttp.ClientSession
    evaluator: ScriptedEvaluator
    events: RecordedEvents
    services: Services
    server: uvicorn.Server

    async def post(self, document=None, *, path="/v1/evaluations", data=None, **headers):
        """Post and read: status, headers and the parsed body; every problem is documented."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names.setdefault("content-type", "application/json")
        body = {"data": data} if document is None else {"json": document}
        async with self.http.post(self.url + path, headers=names, **body) as answer:
            read = await answer.json(content_type=None)
            assert answer.status < 400 or read["code"] in documented_codes(path, answer.status)
            return answer.status, answer.headers, read


@functools.cache
def documented_codes(path: str, status: int) -> frozenset[str]:
    """The problems of a status that the OpenAPI document names for posts to a path."""
    described = openapi_document()["paths"].get(path)
    if described is None:
        return frozenset(CODES_BY_STATUS.values())
    return frozenset(
        re.findall(r"`(\w+)`", described["post"]["responses"][str(status)]["description"])
    )


@contextlib.asynccontextmanager
async def running_api(
    *,
    limits: Limits | None = None,
    evaluator=None,
    access=None,
    idempotency=None,
    routers=(),
    comparer=None,
    cors_origins=(),
    gate=OPEN_GATE,
    usage=None,
) -> AsyncIterator[Api]:
    """The API on a free port, with fakes for what is not given."""
    evaluator = evaluator or ScriptedEvaluator()
    events = RecordedEvents()
    services = fake_services(
        evaluator,
        events,
        access=access,
        idempotency=idempotency,
        comparer=comparer,
        gate=gate,
        usage=usage,
    )
    services.lifecycle.phase = "serving"
    app = create_app(services, limits or limits_with(), routers, cors_origins)
    async with on_free_port(app) as (server, url), aiohttp.ClientSession() as http:
        yield Api(url, http, evaluator, events, services, server)


@contextlib.asynccontextmanager
async def on_free_port(app) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """An ASGI app on a free port of the loopback."""
    with listen("127.0.0.1", 0) as listener:
        async with serving(app, listener) as server:
            yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"


def fake_services(
    evaluator,
    events,
    *,
    access=None,
    idempotency=None,
    comparer=None,
    gate=OPEN_GATE,
    usage=None,
) -> Services:
    """Services with fakes for what is not given."""
    return Services(
        evaluator=evaluator,
        comparer=comparer or engine.comparer(FakeJudges(), events),
        access=access or OpenAccess(),
        idempotency=idempotency or NoStore(),
        models=OneModel(),
        judges=FakeJudges(),
        usage=usage or NoUsage(),
        audit=NoAudit(),
        events=events,
        gate=gate,
    )

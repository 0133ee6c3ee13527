"""Small requests that are made to stop the service: they end, and meanwhile others are served."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import time
from collections.abc import AsyncIterator

import pytest

from assay.evaluation.sandbox.pool import SandboxPool
from fakes import engine
from fakes.hostile import REQUESTS
from fakes.http_api import Api, documented_codes, running_api
from fakes.judges import FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

TINY = {"output": "a", "criteria": [{"type": "equals", "value": "a"}]}
CPU_S_MAX = 0.25
"""Of one turn of the event loop. It is CPU time, which does not grow on a busy machine."""

REFUSED = {
    "grades_of_text": "must have at most 50000 values",
    "brackets": "must have at most 50000 values",
    "brackets_in_schema": "must have at most 50000 values",
}
UNSCORED = {"tool_schema_doubles", "schema_unevaluated", "schema_doubles"}
"""The requests whose check never ends: a worker is killed at the time limit."""


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """The API over the real engine and real workers, with a short time limit for checks."""
    events = RecordedEvents()
    sandbox = SandboxPool(events, check_time_max_s=3.0)
    judges = FakeJudges(**{"simulated/judge": ScriptedModel('{"reasoning": "r", "verdict": "a"}')})
    documented_codes("/v1/evaluations", 422)  # describes the API, which takes its time once
    # What other tests left is not the requests' to collect, and can take half a second.
    gc.collect()
    gc.freeze()
    async with running_api(evaluator=engine.engine(judges, sandbox, events)) as api:
        yield api
    await sandbox.aclose()
    gc.unfreeze()


async def longest_turn_s(until: asyncio.Task) -> float:
    """The most CPU time that one turn of the event loop took while the task ran."""
    longest_s = 0.0
    while not until.done():
        before_s = time.thread_time()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, time.thread_time() - before_s)
    return longest_s


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_hostile_request_ends_and_stops_no_one_else(api: Api, name: str) -> None:
    """The event loop turns all the time, a tiny request is answered, and the outcome is clear."""
    body = json.dumps(REQUESTS[name], separators=(",", ":")).encode()
    hostile = asyncio.create_task(api.post(data=io.BytesIO(body)))
    turn = asyncio.create_task(longest_turn_s(hostile))
    await asyncio.sleep(0.01)
    status, _, answer = await api.post(TINY)
    assert (status, answer["results"][0]["score"]) == (200, 1.0)
    status, _, answer = await hostile
    assert await turn < CPU_S_MAX
    if name in REFUSED:
        assert (status, answer["code"]) == (422, "invalid_request")
        assert REFUSED[name] in answer["detail"]
    else:
        assert status == 200, answer
        reasons = {result["reason"] for result in answer["results"]}
        assert reasons == ({"check_error"} if name in UNSCORED else {None})


@pytest.mark.parametrize(
    ("criterion", "pointer"),
    [
        ({"type": "regex", "pattern": r"(\p{L}{500}"}, "/criteria/1/pattern"),
        ({"type": "regex", "pattern": "((a{100}){100}){100}"}, "/criteria/1/pattern"),
        ({"type": "json_schema", "schema": {"allOf": [1]}}, "/criteria/1/schema"),
        (
            {"type": "json_schema", "schema": {"properties": {"a/b": {"$ref": "x.json"}}}},
            "/criteria/1/schema/properties/a~1b/$ref",
        ),
    ],
)
async def test_what_a_worker_cannot_compile_is_an_error_of_its_field(
    api: Api, criterion, pointer
) -> None:
    """The request is refused before a judge is asked, like one that fails when it is parsed."""
    document = {"output": "a", "criteria": ["It is polite.", criterion]}
    status, _, problem = await api.post(document)
    assert (status, problem["code"]) == (422, "invalid_request")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert problem["detail"].startswith(f"{pointer}: ")

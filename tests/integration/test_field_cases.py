"""Deterministic criteria on cases from the field, by the real request model and engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.api.requests import EvaluationRequest
from assay.api.validation import validate
from assay.domain.errors import RequestError
from assay.domain.evaluation import JudgeSpec
from assay.domain.events import InternalFault
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.engine import CALLER, engine
from fakes.http_api import running_api
from fakes.judges import FakeJudges
from fakes.recorded_events import RecordedEvents

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "checks.json").read_text()
)
BIG = 12345678901234567890123


def is_right(found: Any, wanted: Any) -> bool:
    """`wanted` is a score, a reason, or status codes and scores joined by "or"."""
    if isinstance(wanted, str):
        return str(found) in wanted or (found == 1 and wanted.endswith("or 1"))
    return isinstance(found, int | float) and found == pytest.approx(wanted, abs=1e-9)


async def outcome(row: Any, sandbox: SandboxPool) -> Any:
    """The score, the reason for none, or the status code of the request's problem."""
    document = {"output": row["output"], "criteria": [row["criterion"]], **row["case"]}
    evaluator = engine(FakeJudges(), sandbox)
    try:
        request = validate(EvaluationRequest, document)
        await evaluator.compile(request.criteria, caller=CALLER, deadline=Deadline.after(25))
    except RequestError:
        return "422"
    evaluated = await evaluator.evaluate(
        request.to_case(),
        request.criteria,
        judge=JudgeSpec(),
        caller=CALLER,
        deadline=Deadline.after(25),
    )
    [result] = evaluated.evaluation.results
    return result.score if result.status == "scored" else result.reason


async def test_every_case_comes_out_right():
    """`want` or one of `also_right`, by the real request model and engine."""
    events = RecordedEvents()
    sandbox = SandboxPool(events)
    found = {row["id"]: await outcome(row, sandbox) for row in CASES}
    await sandbox.aclose()
    wrong = [
        (row["id"], found[row["id"]], row["want"], row["why"])
        for row in CASES
        if not any(is_right(found[row["id"]], w) for w in (row["want"], *row.get("also_right", ())))
    ]
    assert len(found) == 124
    assert not wrong
    assert not events.of(InternalFault)


@pytest.mark.parametrize(
    ("sent", "score"),
    [
        ({"output": "", "criteria": [{"type": "equals", "value": ""}]}, 1),
        ({"output": "", "criteria": [{"type": "json"}]}, 0),
        ({"output": "", "criteria": [{"type": "word_count", "max": 0}]}, 1),
        (
            {"output": "a", "criteria": [{"type": "equals"}], "target": "a", "context": None},
            1,
        ),
        ({"output": "a", "criteria": [{"type": "equals"}], "ideal": ["b", "a"], "tools": None}, 1),
        (
            {
                "output": [{"role": "model", "parts": [{"functionCall": {"name": "f"}}]}],
                "criteria": [{"type": "tool_call_f1"}],
                "expected_tools": [{"name": "f", "arguments": {}}],
                "metadata": None,
            },
            1,
        ),
        (
            {
                "output": [{"type": "function_call", "name": "f", "arguments": f'{{"id": {BIG}}}'}],
                "criteria": [{"type": "tool_call_f1"}],
                "expected_tools": [{"name": "f", "arguments": {"id": BIG}}],
            },
            1,
        ),
    ],
)
async def test_empty_outputs_nulls_aliases_and_items_are_read(sent, score):
    """A request is scored whichever of these forms it has."""
    events = RecordedEvents()
    sandbox = SandboxPool(events)
    async with running_api(evaluator=engine(FakeJudges(), sandbox, events)) as api:
        status, _, body = await api.post(sent)
    await sandbox.aclose()
    assert (status, body["results"][0]["score"]) == (200, score)


@pytest.mark.parametrize("padding", ["", "x" * 100_000, "é" * 100_000])
async def test_whole_numbers_keep_their_digits_on_the_way(padding):
    """Metadata and a number's `value` come back digit for digit, whichever parser read them."""
    events = RecordedEvents()
    sandbox = SandboxPool(events)
    metadata = {"id": BIG, "negative": -BIG, "list": [2**63, 2**64, 10**300], "float": 0.1}
    sent = {
        "output": f"It is {BIG}.",
        "input": padding,
        "criteria": [{"type": "numeric", "value": BIG}],
        "metadata": metadata,
    }
    async with running_api(evaluator=engine(FakeJudges(), sandbox, events)) as api:
        status, _, body = await api.post(sent)
    await sandbox.aclose()
    assert (status, body["metadata"]) == (200, metadata)
    assert (body["results"][0]["score"], body["results"][0]["value"]) == (1, BIG)

"""What goes to OpenTelemetry, against a table of its GenAI conventions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from assay.domain.completion import Caller, Usage
from assay.domain.evaluation import CriterionResult, EvaluatorRecord
from assay.domain.events import AttemptFinished, RequestFinished
from assay.domain.models import Capabilities, Model
from assay.domain.sampling import Sampling
from assay.domain.trace_context import Subject
from assay.telemetry.otel.conventions import (
    Upstream,
    attempt_attributes,
    call_attributes,
    evaluation_attributes,
    provider_name,
    request_attributes,
)


@dataclass(frozen=True)
class Row:
    """An attribute of the conventions: its type and its requirement level."""

    type: type
    level: str


REQUIRED, CONDITIONAL, RECOMMENDED, OPT_IN = "required", "conditional", "recommended", "opt-in"

INFERENCE = {
    "gen_ai.operation.name": Row(str, REQUIRED),
    "gen_ai.provider.name": Row(str, REQUIRED),
    "gen_ai.request.model": Row(str, CONDITIONAL),
    "error.type": Row(str, CONDITIONAL),
    "gen_ai.conversation.id": Row(str, CONDITIONAL),
    "gen_ai.output.type": Row(str, CONDITIONAL),
    "gen_ai.prompt.name": Row(str, CONDITIONAL),
    "gen_ai.prompt.version": Row(str, CONDITIONAL),
    "gen_ai.request.choice.count": Row(int, CONDITIONAL),
    "gen_ai.request.seed": Row(int, CONDITIONAL),
    "gen_ai.request.stream": Row(bool, CONDITIONAL),
    "gen_ai.request.top_k": Row(int, CONDITIONAL),
    "server.port": Row(int, CONDITIONAL),
    "server.address": Row(str, RECOMMENDED),
    "gen_ai.request.temperature": Row(float, RECOMMENDED),
    "gen_ai.request.top_p": Row(float, RECOMMENDED),
    "gen_ai.request.max_tokens": Row(int, RECOMMENDED),
    "gen_ai.request.reasoning.level": Row(str, RECOMMENDED),
    "gen_ai.response.id": Row(str, RECOMMENDED),
    "gen_ai.response.model": Row(str, RECOMMENDED),
    "gen_ai.response.finish_reasons": Row(tuple, RECOMMENDED),
    "gen_ai.response.time_to_first_chunk": Row(float, RECOMMENDED),
    "gen_ai.usage.input_tokens": Row(int, RECOMMENDED),
    "gen_ai.usage.output_tokens": Row(int, RECOMMENDED),
    "gen_ai.usage.cache_read.input_tokens": Row(int, RECOMMENDED),
    "gen_ai.usage.cache_write.input_tokens": Row(int, RECOMMENDED),
    "gen_ai.usage.reasoning.output_tokens": Row(int, RECOMMENDED),
    "gen_ai.input.messages": Row(str, OPT_IN),
    "gen_ai.output.messages": Row(str, OPT_IN),
    "gen_ai.system_instructions": Row(str, OPT_IN),
}
EVALUATION = {
    "gen_ai.evaluation.name": Row(str, REQUIRED),
    "gen_ai.evaluation.score.value": Row(float, CONDITIONAL),
    "gen_ai.evaluation.score.label": Row(str, CONDITIONAL),
    "error.type": Row(str, CONDITIONAL),
    # Recommended, and yet ours only where an operator asks for it: it quotes callers.
    "gen_ai.evaluation.explanation": Row(str, OPT_IN),
    "gen_ai.response.id": Row(str, RECOMMENDED),
}
SERVER = {
    "http.request.method": Row(str, REQUIRED),
    "http.response.status_code": Row(int, CONDITIONAL),
    "http.route": Row(str, CONDITIONAL),
    "error.type": Row(str, CONDITIONAL),
    "http.request.body.size": Row(int, OPT_IN),
}

MODEL = Model(
    "vendor/judge",
    "vendor",
    "judge-1",
    host="api.vendor.example",
    reasoning=True,
    capabilities=Capabilities(seed=True),
)
UPSTREAM = Upstream(MODEL, "openai", 443)
ATTEMPT = AttemptFinished(
    Caller("acme", "req_1"),
    "vendor",
    "vendor/judge",
    "ok",
    1.5,
    0.5,
    Usage(100, 50, 30, 80),
    0.01,
    finish="stop",
    served_by="judge-1-2026",
    sampling=Sampling(256, 0.2, 7, reasoning_effort="low", top_p=0.9),
    structured=True,
)
RESULT = CriterionResult(
    "politeness", "rubric", "scored", 0.75, 4, "good", passed=True, explanation="It thanks."
)
EVALUATOR = EvaluatorRecord("abc", "support", 3)


def check(attributes: dict[str, Any], table: dict[str, Row]) -> None:
    """Each attribute is ours or in the table, with its type; what is required is there."""
    for name, value in attributes.items():
        if name.startswith("assay."):
            continue
        assert name in table, f"{name} is not in the conventions"
        assert table[name].level != OPT_IN or name == "http.request.body.size"
        assert type(value) is table[name].type, name
    missing = {name for name, row in table.items() if row.level == REQUIRED} - attributes.keys()
    assert not missing


@pytest.mark.parametrize(
    "attempt",
    [
        ATTEMPT,
        replace(ATTEMPT, outcome="rate_limited", usage=Usage(0, 0), finish="", served_by=""),
        replace(ATTEMPT, first_byte_seconds=None, structured=False, sampling=Sampling()),
    ],
)
@pytest.mark.parametrize("model", [MODEL, replace(MODEL, kind="embedding", host="")])
def test_a_call_has_the_attributes_of_the_conventions(attempt, model):
    """Names and types are the conventions' own, whatever the call came to."""
    upstream = replace(UPSTREAM, model=model)
    check(call_attributes(upstream) | attempt_attributes(attempt, upstream), INFERENCE)


def test_a_call_says_what_it_was_asked_and_what_it_took():
    """Usage includes cached and reasoning tokens; the first chunk is there where it streams."""
    found = call_attributes(UPSTREAM) | attempt_attributes(ATTEMPT, UPSTREAM)
    conventional = {name: value for name, value in found.items() if not name.startswith("assay.")}
    assert conventional == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "judge-1",
        "server.address": "api.vendor.example",
        "server.port": 443,
        "gen_ai.output.type": "json",
        "gen_ai.request.stream": True,
        "gen_ai.request.seed": 7,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 2_048,  # with room to think, within the model's limit
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.response.model": "judge-1-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 80,
        "gen_ai.usage.reasoning.output_tokens": 30,
    }
    whole = attempt_attributes(ATTEMPT, replace(UPSTREAM, streams=False))
    assert "gen_ai.response.time_to_first_chunk" not in whole
    assert "gen_ai.request.stream" not in whole


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (RESULT, {"gen_ai.evaluation.score.value": 0.75, "gen_ai.evaluation.score.label": "good"}),
        (
            replace(RESULT, label=None, passed=False, score=0.0),
            {"gen_ai.evaluation.score.value": 0.0, "gen_ai.evaluation.score.label": "fail"},
        ),
        (
            CriterionResult("politeness", "rubric", "unscored", reason="judge_refused"),
            {"error.type": "judge_refused"},
        ),
        (
            CriterionResult("politeness", "rubric", "skipped", reason="required_check_failed"),
            {"error.type": "required_check_failed"},
        ),
    ],
)
def test_a_result_is_a_score_or_the_reason_without_one(result, expected):
    """What is unscored has no score and no label, and its reason is the error's type."""
    found = evaluation_attributes(result, EVALUATOR, None, explains=False)
    check(found, EVALUATION)
    conventional = {name: value for name, value in found.items() if not name.startswith("assay.")}
    assert conventional == {"gen_ai.evaluation.name": "politeness", **expected}


def test_a_result_names_its_evaluator_its_scale_and_its_cost():
    """What the conventions have no word for is under our own prefix."""
    result = replace(RESULT, cost_usd=0.02, simulated=True)
    found = evaluation_attributes(result, EVALUATOR, Subject(response_id="r-1"), explains=False)
    assert found["gen_ai.response.id"] == "r-1"
    assert {name: value for name, value in found.items() if name.startswith("assay.")} == {
        "assay.criterion.type": "rubric",
        "assay.evaluation.value": 4.0,
        "assay.evaluation.score.min": 0.0,
        "assay.evaluation.score.max": 1.0,
        "assay.evaluation.passed": True,
        "assay.evaluator.revision": "abc",
        "assay.evaluator.name": "support",
        "assay.evaluator.version": 3,
        "assay.cost_usd": 0.02,
        "assay.simulated": True,
    }


def test_an_explanation_is_there_only_where_an_operator_asks_for_it():
    """It may quote what callers sent."""
    for explains, expected in ((False, None), (True, "It thanks.")):
        found = evaluation_attributes(RESULT, EVALUATOR, None, explains=explains)
        assert found.get("gen_ai.evaluation.explanation") == expected


def test_a_request_has_the_attributes_of_http():
    """An error of ours is one; a method that is no word of HTTP is `_OTHER`."""
    event = RequestFinished(Caller("acme", "req_1"), "OTHER", "/v1/evaluations", 503, 0.1, 12)
    found = request_attributes(event)
    check(found, SERVER)
    assert found["error.type"] == "503"
    assert found["http.request.method"] == "_OTHER"
    assert "error.type" not in request_attributes(replace(event, status=422))


@pytest.mark.parametrize(
    ("protocol", "host", "expected"),
    [
        ("openai_responses", "api.openai.com", "openai"),
        ("openai", "api.groq.com", "groq"),
        ("openai", "api.x.ai", "x_ai"),
        ("openai", "notx.ai.example", "mine"),
        ("openai", "max.ai", "mine"),
        ("openai", "127.0.0.1", "mine"),
        ("bedrock", "bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
        ("vertex", "us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("gemini", "generativelanguage.googleapis.com", "gcp.gemini"),
        ("azure", "me.openai.azure.com", "azure.ai.openai"),
    ],
)
def test_a_provider_has_its_well_known_name(protocol, host, expected):
    """By its dialect or its host; a server of one's own has the name that it is configured by."""
    assert provider_name("mine", protocol, host) == expected

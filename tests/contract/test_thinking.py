"""Models that think: how long they may, how they are asked to, and what their API refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assay.domain.errors import DeadlineExceeded, ProviderSilent, RequestRejected
from assay.domain.models import Capabilities
from assay.domain.sampling import Effort, Sampling
from fakes.providers.play import TEXT
from fakes.providers.subject import PROMPT, SHORT_SILENCE_S, STRUCTURED, Subject

THINKING_S = 1.5
"""Longer than the silence timeout of these tests."""


@pytest.fixture(autouse=True)
def short_silence(subject: Subject) -> None:
    subject.silence_s = SHORT_SILENCE_S


@pytest.mark.parametrize("holds_head", [False, True], ids=["head_first", "head_held"])
async def test_a_model_that_thinks_may_be_silent_until_its_answer_begins(
    subject: Subject, holds_head: bool
) -> None:
    """Its first byte is the first of its answer, whatever was sent before."""
    subject.server.thinking_s, subject.server.holds_head = THINKING_S, holds_head
    completion = await subject.ask(deadline_s=20, reasoning=True)
    assert completion.text == TEXT
    assert completion.first_byte_ms >= THINKING_S * 1_000


@pytest.mark.parametrize(
    "fields",
    [{}, {"reasoning": True, "reasoning_effort": "none"}, {"thinking_timeout_s": 20.0}],
    ids=["not_marked", "effort_none", "timeout_alone"],
)
async def test_a_model_that_does_not_think_keeps_the_silence_timeout(
    subject: Subject, fields: dict[str, Any]
) -> None:
    """Events before the answer are signs of life, but only until the next silence."""
    subject.server.thinking_s = 20.0
    with pytest.raises(ProviderSilent, match=rf"silent for {SHORT_SILENCE_S:g} s"):
        await subject.ask(deadline_s=20, **fields)


async def test_thinking_has_its_own_timeout(subject: Subject) -> None:
    """A configured `thinking_timeout_s` ends a thought before the deadline does."""
    subject.server.thinking_s = 20.0
    with pytest.raises(ProviderSilent, match=r"silent for 0\.7 s"):
        await subject.ask(deadline_s=20, reasoning=True, thinking_timeout_s=0.7)


async def test_the_deadline_ends_a_thought(subject: Subject) -> None:
    """Without one the deadline does, and the error says how long no answer came."""
    subject.server.thinking_s = 20.0
    with pytest.raises(DeadlineExceeded) as caught:
        await subject.ask(deadline_s=1.0, reasoning=True)
    assert caught.value.idle_s > SHORT_SILENCE_S


async def test_an_answer_that_began_must_go_on(subject: Subject) -> None:
    """After its first byte a model that thinks is as silent as any other."""
    if not subject.stream:
        return  # nothing tells the beginning of an answer that comes whole
    subject.server.answer = "yes " * 200
    await subject.server.play("silent_mid")
    with pytest.raises(ProviderSilent, match=rf"silent for {SHORT_SILENCE_S:g} s"):
        await subject.ask(deadline_s=20, reasoning=True)


def effort_in(dialect: str, effort: str) -> dict[str, Any]:
    return {
        "openai": {"reasoning_effort": effort},
        "openai_responses": {"reasoning": {"effort": effort}},
        "anthropic": {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}},
        "gemini": {"thinkingConfig": {"thinkingLevel": effort}},
        "bedrock": {
            "additionalModelRequestFields": {"thinking": {"type": "adaptive"}},
            "outputConfig": {"effort": effort},
        },
    }[dialect]


async def sent(subject: Subject, sampling: Sampling = Sampling(), **fields: Any) -> dict[str, Any]:  # noqa: B008  # frozen
    """The request's body, with the fields of Gemini's configuration beside the others."""
    await subject.ask(replace(PROMPT, sampling=sampling), **fields)
    body = subject.server.requests[-1].body
    return body | body.get("generationConfig", {})


async def test_effort_is_sent_in_the_dialects_way(subject: Subject) -> None:
    """The model's own effort, unless the call says another."""
    fields: dict[str, Any] = {"reasoning": True, "reasoning_effort": "low"}
    assert effort_in(subject.family, "low").items() <= (await sent(subject, **fields)).items()
    body = await sent(subject, Sampling(reasoning_effort="high"), **fields)
    assert effort_in(subject.family, "high").items() <= body.items()


async def test_budget_is_sent_where_the_dialect_has_one(subject: Subject) -> None:
    """Within the output limit, which leaves room for the answer."""
    body = await sent(
        subject, Sampling(thinking_budget_tokens=4_000), reasoning=True, max_output_tokens=6_000
    )
    limit = "max_completion_tokens" if subject.dialect == "azure" else "max_tokens"
    expected: dict[str, Any] = {
        "openai": {limit: 5_048},
        "openai_responses": {"max_output_tokens": 5_048},
        "anthropic": {
            "thinking": {"type": "enabled", "budget_tokens": 3_000},
            "max_tokens": 5_048,
        },
        "gemini": {"thinkingConfig": {"thinkingBudget": 3_000}, "maxOutputTokens": 5_048},
        "bedrock": {
            "additionalModelRequestFields": {
                "thinking": {"type": "enabled", "budget_tokens": 3_000}
            },
            "inferenceConfig": {"maxTokens": 5_048},
        },
    }
    assert expected[subject.family].items() <= body.items()


@pytest.mark.parametrize("effort", ["none", "low"])
async def test_a_model_that_does_not_think_is_not_asked_to(
    subject: Subject, effort: Effort
) -> None:
    """A judge may have models of both kinds: the request's effort is for those that think."""
    body = await sent(subject, Sampling(reasoning_effort=effort, thinking_budget_tokens=100))
    assert {"reasoning", "reasoning_effort", "thinking", "thinkingConfig"}.isdisjoint(body)
    assert {"outputConfig", "additionalModelRequestFields"}.isdisjoint(body)


async def test_a_model_that_thinks_gives_structured_answers(subject: Subject) -> None:
    """Anthropic allows no forced tool next to thinking: the answer's format is asked for."""
    completion = await subject.ask(STRUCTURED, reasoning=True, reasoning_effort="low")
    assert completion.text.startswith("{")
    if subject.family == "anthropic":
        body = subject.server.requests[-1].body
        assert "tools" not in body
        assert body["output_config"]["format"]["type"] == "json_schema"
        assert body["output_config"]["effort"] == "low"
    if subject.family == "bedrock":
        body = subject.server.requests[-1].body
        assert "toolConfig" not in body
        assert body["outputConfig"]["textFormat"]["type"] == "json_schema"
        assert body["outputConfig"]["effort"] == "low"


FIELDS = {
    "openai": {
        "temperature": "temperature",
        "seed": "seed",
        "logprobs": "logprobs",
        "response_format": "structured_output",
        "reasoning_effort": "reasoning_effort",
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
    },
    "openai_responses": {
        "temperature": "temperature",
        "include": "logprobs",
        "text.format": "structured_output",
        "reasoning.effort": "reasoning_effort",
    },
    "anthropic": {
        "tool_choice": "structured_output",
        "thinking.budget_tokens": "thinking_budget",
        "output_config.effort": "reasoning_effort",
    },
    "bedrock": {
        "inferenceConfig.temperature": "temperature",
        "toolConfig": "structured_output",
        "outputConfig.effort": "reasoning_effort",
        "additionalModelRequestFields.thinking.budget_tokens": "thinking_budget",
    },
    "gemini": {
        "generationConfig.temperature": "temperature",
        "generationConfig.seed": "seed",
        "generationConfig.responseLogprobs": "logprobs",
        "generationConfig.responseJsonSchema": "structured_output",
        "generationConfig.thinkingConfig.thinkingLevel": "reasoning_effort",
        "generationConfig.thinkingConfig.thinkingBudget": "thinking_budget",
    },
}


async def test_what_an_api_refuses_is_named(subject: Subject) -> None:
    """An error about an unsupported field says which of our parameters it is."""
    everything = Sampling(temperature=0.5, seed=7, top_logprobs=3)
    other_limit = "max_tokens" if subject.dialect == "azure" else "max_completion_tokens"
    for field, parameter in FIELDS[subject.family].items():
        if field == other_limit:
            continue
        subject.server.refuses = (field,)
        fields: dict[str, Any] = {}
        if parameter == "reasoning_effort":
            fields = {"reasoning": True, "reasoning_effort": "low"}
        if parameter == "thinking_budget":
            fields = {"reasoning": True, "thinking_budget_tokens": 2_000}
        able = Capabilities(logprobs=True, seed=True)
        with pytest.raises(RequestRejected) as caught:
            await subject.ask(replace(STRUCTURED, sampling=everything), capabilities=able, **fields)
        assert caught.value.parameter == parameter, field
